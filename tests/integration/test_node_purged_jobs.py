"""Jobs of studies whose files were removed: nobody waits for them, and they are done again when the images are here."""

from pathlib import Path

import pytest
from sqlalchemy import update

from node.admin import jobs as job_admin
from node.admin import state
from node.catalog import alerts, tables
from node.catalog.session import Catalog
from node.domain.job import Failure
from node.domain.retention import Finished, Why
from node.errors import CatalogError
from node.settings import Settings
from node.spool import Spool
from tests.conftest import AUDIT_KEY
from tests.keeping import AT, IMAGES, Keeping, after
from tests.studies import Series

CHEST = Series("1", count=IMAGES)
GONE = "Images of job 1 were removed: send the whole series again first."


@pytest.fixture
def keeping(catalog: Catalog, spool: Spool, data: Path) -> Keeping:
    """One study, about to be read."""
    keeping = Keeping.on(catalog, spool, data)
    keeping.flow.take(CHEST.payloads(), AT)
    keeping.flow.complete(after(4))
    return keeping


@pytest.fixture
def settings(catalog: Catalog, data: Path) -> Settings:
    """What the commands need to open the same catalog."""
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    url = catalog.engine.url.render_as_string(hide_password=False)
    return Settings(data=data, database_url=url, minimum_free_gib=0, minimum_free_fraction=0)


def buried(keeping: Keeping) -> Keeping:
    """Its analysis died, and the PACS was told."""
    for attempt in range(3):
        keeping.flow.fail(keeping.flow.claimed(1, after(100 * attempt + 5)), Failure.UNKNOWN, after(100 * attempt + 6))
    return told(keeping)


def told(keeping: Keeping) -> Keeping:
    """The newest job is done and delivered, long ago."""
    keeping.finish(after(1000))
    keeping.deliver()
    return keeping


def purge(keeping: Keeping, *, decided: bool) -> None:
    """Somebody removes the files of the study, long ago."""
    assert keeping.retain().purge(Finished(1, CHEST.study_uid, AT, 0), Why.OPERATOR, decided=decided)
    with keeping.flow.catalog.writing() as session:
        for table in (tables.instance, tables.study):
            session.execute(update(table).where(table.c.purged_at.is_not(None)).values(purged_at=AT))


def needs_a_person(keeping: Keeping) -> list[str]:
    with keeping.flow.catalog.reading() as session:
        return [str(each.kind) for each in alerts.conditions(session)]


def test_a_dead_job_of_a_study_that_somebody_removed_needs_nobody_and_is_not_done_again(
    keeping: Keeping, settings: Settings
) -> None:
    buried(keeping)
    assert (needs_a_person(keeping), state.status(settings).well) == (["dead job"], False)
    purge(keeping, decided=True)
    assert (needs_a_person(keeping), state.status(settings).well) == ([], True)
    with pytest.raises(CatalogError, match=GONE):
        job_admin.retry(settings, 1)
    assert job_admin.retry_all(settings).data == []
    assert [job["state"] for job in keeping.flow.jobs()] == ["dead", "done"]


def test_when_its_images_are_here_again_a_dead_job_is_seen_and_done_again(keeping: Keeping, settings: Settings) -> None:
    purge(buried(keeping), decided=True)
    keeping.flow.take(CHEST.payloads(range(3)), after(3600))
    keeping.flow.complete(after(3700))
    assert needs_a_person(keeping) == ["dead job"]
    with pytest.raises(CatalogError, match=GONE):
        job_admin.retry(settings, 1)
    assert "1 cannot be" in (job_admin.retry_all(settings).note or "")
    keeping.flow.take(CHEST.payloads(range(3, IMAGES)), after(7200))
    keeping.flow.complete(after(7300))
    assert [job["state"] for job in keeping.flow.jobs()] == ["dead", "done"]
    job_admin.retry(settings, 1)
    assert [job["state"] for job in keeping.flow.jobs()] == ["superseded", "superseded", "queued"]


def test_a_cancelled_job_whose_images_retention_removed_is_not_done_again(keeping: Keeping, settings: Settings) -> None:
    job_admin.cancel(settings, 1)
    purge(told(keeping), decided=False)
    with pytest.raises(CatalogError, match=GONE):
        job_admin.retry(settings, 1)


def test_a_notice_is_not_told_again_when_no_image_says_whose_it_is(keeping: Keeping, settings: Settings) -> None:
    buried(keeping)
    with keeping.flow.catalog.writing() as session:
        session.execute(update(tables.job).where(tables.job.c.id == 2).values(state="dead"))
    purge(keeping, decided=True)
    with pytest.raises(CatalogError, match="Images of job 2 were removed"):
        job_admin.retry(settings, 2)
