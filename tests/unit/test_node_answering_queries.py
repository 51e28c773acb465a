"""dicom/query_scp.py: how a C-FIND ended is told as it was, whatever it stumbled over."""

from types import SimpleNamespace

import pytest
from pydicom import Dataset
from pynetdicom import evt

from node.dicom import statuses
from node.dicom.query_scp import QuerySCP
from node.domain.reception import QueryAnswered


class _Asked(evt.Event):
    """A C-FIND whose identifier cannot be decoded for a reason that nobody foresaw."""

    def __init__(self) -> None:
        self._error = ZeroDivisionError()
        self.assoc = SimpleNamespace(
            requestor=SimpleNamespace(primitive=SimpleNamespace(calling_ae_title="WS"), address="10.0.0.6")
        )

    @property
    def identifier(self) -> Dataset:
        raise self._error


def test_a_query_that_stumbles_is_told_as_a_failure(caplog: pytest.LogCaptureFixture) -> None:
    told: list[QueryAnswered] = []
    asking = QuerySCP("NODUS", lambda _: [], told.append)
    assert list(asking.on_find(_Asked())) == [(statuses.UNABLE_TO_PROCESS, None)]
    assert [each.status for each in told] == [statuses.UNABLE_TO_PROCESS]
    assert "a C-FIND failed" in caplog.text
