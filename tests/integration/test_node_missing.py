"""Images that were told of and did not come: an archive is asked for them a few times, and nothing waits for it."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from pydicom import Dataset
from pynetdicom import AE, evt
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import (
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    Verification,
)
from sqlalchemy import insert

from node.catalog import missing, studies, tables
from node.catalog.session import Catalog
from node.domain.missing import MOST_TRIES
from node.domain.prefetch import Fetch
from node.errors import PeerFailed
from node.flow.missing import NO_MORE, Fetching
from node.flow.prefetch import asks
from node.settings import Settings
from node.settings.priors import ArchiveSettings
from tests.flow import Flow
from tests.integration.test_node_counts import CHEST, COUNTED, evidence, says
from tests.servers import free_port
from tests.studies import AT, Series, after

LAST = sorted(CHEST.instance_uid(number) for number in range(61, 64))

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""pynetdicom leaves the socket of a connection that was refused to the garbage collector."""


@dataclass
class Archive:
    """Has images, and takes C-MOVEs for them, without sending anything."""

    has: Sequence[str] = ()
    knows_us: bool = True
    port: int = 0
    asked: list[Dataset] = field(default_factory=list)
    moved: list[list[str]] = field(default_factory=list)

    def on_find(self, event: evt.Event) -> Iterator[tuple[int, Dataset | None]]:
        """EVT_C_FIND."""
        self.asked.append(event.identifier)
        for uid in self.has:
            match = Dataset()
            match.QueryRetrieveLevel, match.SOPInstanceUID = "IMAGE", uid
            yield 0xFF00, match

    def on_move(self, event: evt.Event) -> Iterator[Any]:
        """EVT_C_MOVE."""
        uids = event.identifier.SOPInstanceUID
        self.moved.append([uids] if isinstance(uids, str) else sorted(uids))
        yield ("127.0.0.1", 1) if self.knows_us else (None, None)
        yield 0


@contextmanager
def archive(has: Sequence[str] = (), *, knows_us: bool = True) -> Iterator[Archive]:
    """One that listens."""
    made, ae = Archive(has, knows_us), AE("ARCHIVE")
    models = (StudyRootQueryRetrieveInformationModelFind, StudyRootQueryRetrieveInformationModelMove, Verification)
    handlers: list[Any] = [(evt.EVT_C_FIND, made.on_find), (evt.EVT_C_MOVE, made.on_move)]
    contexts = [build_context(each) for each in models]
    server = ae.start_server(("127.0.0.1", 0), block=False, contexts=contexts, evt_handlers=handlers)
    made.port = server.server_address[1]
    try:
        yield made
    finally:
        ae.shutdown()


class Refusing:
    """An open association to an archive that answers nothing."""

    def images_of(self, *_: str) -> set[str]:
        raise PeerFailed("the archive answered a C-FIND with status 0xC001.")


def step(flow: Flow, port: int, at: datetime) -> bool:
    there = ArchiveSettings(ae_title="ARCHIVE", host="127.0.0.1", port=port, wait_s=55)
    connect = asks(Settings(ae_title="NODUS"), flow.catalog, there)
    return Fetching(flow.catalog, "NODUS", "ARCHIVE", connect, lambda: at).step()


def short(catalog: Catalog) -> Flow:
    """A flow with a study of which three images did not come."""
    flow = Flow(catalog)
    says(flow)
    flow.receive(CHEST.headers(range(61)))
    flow.complete(after(4))
    return flow


def test_a_quiet_study_that_lacks_images_gets_those_alone_and_stays_its_senders(catalog: Catalog) -> None:
    flow = short(catalog)
    with archive([CHEST.instance_uid(number) for number in range(64)]) as one:
        assert not step(flow, one.port, after(14.9))
        assert step(flow, one.port, after(15))
        assert not step(flow, one.port, after(16))
    assert one.moved == [LAST]
    (asked,) = one.asked
    assert (asked.QueryRetrieveLevel, asked.SeriesInstanceUID) == ("IMAGE", CHEST.series_uid)
    assert evidence(flow) == ["", ""]
    flow.receive(CHEST.headers(range(61, 64)), after(17), calling="ARCHIVE")
    flow.complete(after(17))
    assert evidence(flow) == COUNTED
    assert [flow.rows(table)[0]["calling_ae_title"] for table in (tables.study, tables.series)] == ["CT1", "CT1"]
    with catalog.reading() as session:
        assert studies.senders_of_series(session, 1) == ["CT1"]
    assert flow.job_in("queued")
    kinds = [entry.kind for entry in flow.audit() if entry.kind.startswith("missing")]
    assert kinds == ["missing images asked for", "missing images fetched"]


@pytest.mark.parametrize("trouble", ["down", "no more", "does not know us"])
def test_an_archive_that_cannot_help_is_asked_a_few_times_and_the_study_ends_as_without_it(
    catalog: Catalog, trouble: str
) -> None:
    flow = short(catalog)
    with archive([] if trouble == "no more" else LAST, knows_us=False) as one:
        port = free_port() if trouble == "down" else one.port
        tried = [seconds for seconds in range(15, 900, 60) if step(flow, port, after(seconds))]
    assert tried == [15, 75, 315]
    with catalog.reading() as session:
        known = missing.of_study(session, 1)
    assert known is not None
    said = {"down": "cannot be reached", "no more": NO_MORE, "does not know us": "0xA801"}[trouble]
    assert (known.tries, said in known.said) == (MOST_TRIES, True)
    assert len(flow.audit("missing images not fetched")) == MOST_TRIES
    flow.complete(after(899))
    assert evidence(flow) == ["", ""]
    flow.complete(after(900))
    assert evidence(flow) == ["hard cap"] * 2
    assert not step(flow, port, after(2000))


@pytest.mark.parametrize(("reachable", "called"), [(False, 1), (True, 2)])
def test_an_archive_that_is_down_is_called_once_in_a_turn_and_what_it_refuses_is_the_studys_own(
    catalog: Catalog, reachable: bool, called: int
) -> None:
    flow, calls = short(catalog), []
    other = Series("other")
    says(flow, series=other.series_uid, study_instance_uid=other.study_uid, uid="1.2.4")
    flow.receive(other.headers(range(61)))

    @contextmanager
    def connect() -> Iterator[Any]:
        calls.append(reachable)
        if not reachable:
            raise PeerFailed("ARCHIVE cannot be reached.")
        yield Refusing()

    assert Fetching(catalog, "NODUS", "ARCHIVE", connect, lambda: after(15)).step()
    assert len(calls) == called
    assert [row["tries"] for row in flow.rows(tables.missing)] == [1, 1]


def test_a_study_that_is_opened_again_is_asked_for_again(catalog: Catalog) -> None:
    flow = short(catalog)
    with archive(LAST) as one:
        step(flow, one.port, after(15))
        flow.complete(after(900))
        flow.receive(CHEST.headers([61]), after(1000))
        assert step(flow, one.port, after(1015))
    assert one.moved == [LAST, [uid for uid in LAST if uid != CHEST.instance_uid(61)]]
    (row,) = flow.rows(tables.missing)
    assert (row["tries"], row["sop_instance_uids"]) == (1, LAST)


def test_what_we_fetch_as_an_earlier_exam_is_left_to_that(catalog: Catalog) -> None:
    flow = short(catalog)
    look = {"study_id": 1, "state": Fetch.COMING, "until": AT, "prior_study_instance_uid": CHEST.study_uid}
    with catalog.writing() as session:
        session.execute(insert(tables.prefetch).values(look))
    assert not step(flow, free_port(), after(15))
