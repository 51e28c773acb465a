"""`nodus studies STUDY`: why a study counts as complete, or what it waits for."""

from dataclasses import replace
from pathlib import Path

import pytest

from node.admin import state
from node.catalog import missing, peers, studies
from node.catalog.session import Catalog
from node.domain.peers import Sender, Standing
from node.domain.reception import Ending
from node.settings import Settings
from node.spool import write_durably
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.studies import Series, after

CHEST = Series()


@pytest.fixture
def settings(catalog: Catalog, database_url: str, tmp_path: Path) -> Settings:
    """The settings of a command on this catalog."""
    write_durably(tmp_path / "audit.key", AUDIT_KEY)
    return Settings(data=tmp_path, database_url=database_url)


def told(settings: Settings) -> list[str]:
    """What is said of the study, then of each series."""
    data = state.study(settings, CHEST.study_uid).data
    return [data["why"], *(each["why"] for each in data["series"])]


def test_an_open_study_tells_what_it_waits_for_from_its_sender(catalog: Catalog, settings: Settings) -> None:
    flow = Flow(catalog)
    with catalog.writing() as session:
        peers.configure_senders(session, [Sender("CT1", "127.0.0.1/32", Standing.ALLOWED, 5.0, 40.0)])
    flow.receive(CHEST.headers(range(10)), ending=None)
    sentence = (
        "Open: 10 images, so far a gapless stack. It waits for 5 s of quiet after a released association, else 40 s of "
        "quiet, at the latest until 05:21:07 UTC."
    )
    assert told(settings) == [sentence, sentence]
    assert sentence in " ".join(state.study(settings, CHEST.study_uid).text().split())
    flow.receive(CHEST.headers([20]), after(1), ending=None)
    assert told(settings)[1] == (
        "Open: 11 images, images are missing or unevenly spaced. It waits for 40 s of quiet, at the latest until "
        "05:21:07 UTC."
    )


def test_a_study_that_lacks_images_tells_how_an_archive_was_asked(catalog: Catalog, settings: Settings) -> None:
    flow = Flow(catalog)
    flow.receive(CHEST.headers(range(10)))
    assert "missing images" not in state.study(settings, CHEST.study_uid).note
    with catalog.writing() as session:
        (study,) = studies.open_studies(session)
        missing.begin(session, study, "PACS", after(20))
        missing.coming(session, study.id, ["1.2", "1.3"])
    assert "missing images: PACS was asked once: no answer yet" in state.study(settings, CHEST.study_uid).note
    with catalog.writing() as session:
        missing.begin(session, study, "PACS", after(80))
        missing.ended(session, study.id, "it took too long.")
    told = state.study(settings, CHEST.study_uid)
    assert "missing images: PACS was asked 2 times: it took too long." in told.note
    assert told.data["missing"]["images"] == 2


def test_a_complete_study_tells_what_made_it_so_and_each_series_of_it(catalog: Catalog, settings: Settings) -> None:
    flow = Flow(catalog)
    report = [replace(header, ct=None, modality="SR") for header in Series(series="report", count=1).headers()]
    flow.receive([*CHEST.headers(), *report], ending=Ending.ABORTED)
    flow.complete(after(16))
    assert told(settings) == [
        "Complete: 65 images, association aborted, then 16.0 s of quiet (15 s are enough; not sooner, because not "
        "every series is a gapless stack).",
        "Complete: 64 images, association aborted, then 16.0 s of quiet (15 s are enough).",
        "Complete: 1 images, association aborted, then 16.0 s of quiet (15 s are enough; not sooner, because there is "
        "no CT image with its place).",
    ]
