"""node/dicom/answers.py: an answer reaches who waits for it, however late the association's own thread is."""

import threading
import time
from collections.abc import Iterator

import pytest
from pynetdicom import AE
from pynetdicom.association import Association
from pynetdicom.sop_class import Verification

from node.dicom.answers import Checkpoint, keep_answers
from tests.servers import eventually, free_port

LATE_S, LATER_S = 0.02, 0.1


class Late(Association):
    """Its thread is held up after it has rested, before it says so: as on a busy machine, but every time."""

    _rests = False

    @property
    def _is_paused(self) -> bool:
        return self._rests

    @_is_paused.setter
    def _is_paused(self, rests: bool) -> None:
        if not rests:
            threading.Event().wait(LATE_S)
        self._rests = rests


@pytest.fixture
def association(monkeypatch: pytest.MonkeyPatch) -> Iterator[Association]:
    """With somebody who answers at once, and asked by somebody who looks for the answer later still."""
    server, port = AE("ECHO"), free_port()
    server.add_supported_context(Verification)
    serving = server.start_server(("127.0.0.1", port), block=False)
    ours = AE("OURS")
    ours.dimse_timeout = 1.0
    ours.add_requested_context(Verification)
    asked = ours.associate("127.0.0.1", port, ae_title="ECHO")
    asked.__class__ = Late
    take = asked.dimse.get_msg

    def take_later(block: bool = False) -> object:
        threading.Event().wait(LATER_S if block else 0)
        return take(block)

    monkeypatch.setattr(asked.dimse, "get_msg", take_later)
    yield asked
    asked.abort()
    serving.shutdown()


def test_every_answer_is_had_by_who_asked(association: Association) -> None:
    keep_answers(association)
    statuses = [association.send_c_echo().get("Status") for _ in range(20)]
    assert statuses == [0x0000] * 20
    association.release()
    assert association.is_released


def test_without_it_pynetdicom_takes_an_answer_itself(association: Association) -> None:
    """If this fails, pynetdicom no longer needs us."""
    assert any("Status" not in association.send_c_echo() for _ in range(20) if association.is_established)


def test_nobody_waits_for_a_thread_that_has_ended_or_for_himself(association: Association) -> None:
    keep_answers(association)
    begun = time.monotonic()
    association.abort()
    eventually(lambda: not association.is_alive(), what="its thread ends")
    association._reactor_checkpoint.clear()
    own = Checkpoint(Association(AE(), "requestor"))  # type: ignore[arg-type]
    own.clear()
    assert not own.is_set()
    assert time.monotonic() - begun < 10
