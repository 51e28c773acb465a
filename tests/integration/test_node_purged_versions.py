"""Versions of images whose files were removed: what comes again counts, and nothing waits that nobody can settle."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from sqlalchemy import update

from node.catalog import studies, tables
from node.catalog.session import Catalog
from node.domain.retention import Finished, Why
from node.errors import StoreRefused
from node.flow import register
from node.spool import Spool
from tests.conftest import AUDIT_KEY
from tests.keeping import AT, IMAGES, Keeping, after
from tests.studies import Series, keep_all

CHEST = Series("1", count=IMAGES)
CORRECTED = CHEST.having(PatientName="Right^Person")


@pytest.fixture
def keeping(sqlite_template: Path, spool: Spool, data: Path) -> Iterator[Keeping]:
    """One study, read and delivered."""
    shutil.copy(sqlite_template, data / "nodus.db")
    catalog = Catalog(f"sqlite:///{data}/nodus.db", AUDIT_KEY)
    yield Keeping.on(catalog, spool, data)
    catalog.close()


def purge(keeping: Keeping, *, decided: bool = False) -> None:
    """Remove the files of the study, long ago."""
    assert keeping.retain().purge(Finished(1, CHEST.study_uid, AT, 0), Why.OPERATOR, decided=decided)
    with keeping.flow.catalog.writing() as session:
        for table in (tables.instance, tables.study):
            session.execute(update(table).where(table.c.purged_at.is_not(None)).values(purged_at=AT))


def come(keeping: Keeping, series: Series, at_s: float, numbers: range = range(IMAGES)) -> None:
    """Images come, and quiet says that those are all."""
    keeping.flow.take(series.payloads(numbers), after(at_s))
    keeping.flow.complete(after(at_s + 100))


def versions(keeping: Keeping) -> dict[str, int]:
    kinds = [str(row["version"]) for row in keeping.flow.rows(tables.instance)]
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def test_who_purges_a_study_in_conflict_has_decided_it(keeping: Keeping) -> None:
    keeping.finished("1")
    other = CHEST.having(PixelData=b"\7" * 32)
    come(keeping, other, 100, range(3, 4))
    assert keeping.flow.study(CHEST.study_uid)["conflicts"] == 1
    purge(keeping, decided=True)
    come(keeping, CHEST, 1000)
    come(keeping, other, 2000, range(3, 4))
    assert versions(keeping) == {"authoritative": IMAGES, "rejected": 1}
    assert keeping.flow.study(CHEST.study_uid)["conflicts"] == 0
    assert len(keeping.flow.jobs()) == 1


def test_removed_versions_are_settled_with_those_that_are_here(keeping: Keeping) -> None:
    keeping.finished("1")
    come(keeping, CHEST.having(PixelData=b"\7" * 32), 100, range(3, 4))
    with keeping.flow.catalog.writing() as session:
        gone = tables.instance.c.version == "authoritative"
        session.execute(update(tables.instance).where(gone).values(purged_at=AT))
        ((waiting,),) = studies.undecided(session, CHEST.study_uid)[CHEST.study_uid].values()
        assert studies.settle(session, waiting) == {1}
    assert versions(keeping) == {"authoritative": IMAGES, "replaced": 1}


def test_a_duplicate_that_comes_again_counts_when_what_counted_was_removed(keeping: Keeping) -> None:
    twice = CHEST.having(StationName="ROUTER")
    keeping.finished("1")
    come(keeping, twice, 100)
    purge(keeping)
    come(keeping, CHEST, 1000, range(IMAGES, IMAGES + 1))
    assert [job["kind"] for job in keeping.flow.jobs()] == ["analysis", "notice"]
    come(keeping, twice, 2000)
    assert versions(keeping) == {"authoritative": IMAGES + 1, "duplicate": IMAGES}
    assert [job["kind"] for job in keeping.flow.jobs()] == ["analysis", "notice", "analysis"]


def test_what_came_back_and_could_not_be_told_counts_as_gone_until_it_is(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a version in its batch that cannot be compared now: no change of a batch lasts without its audit row."""
    keeping.finished("1")
    purge(keeping)
    come(keeping, CHEST, 1000, range(3, 4))
    kept = keep_all(keeping.flow.spool, [*CHEST.payloads(range(3)), *CHEST.having(StationName="X").payloads([3])])
    before = keeping.flow.audit()
    with monkeypatch.context() as patch, pytest.raises(OSError, match="away"):
        patch.setattr(register, "compared_files", Mock(side_effect=OSError("away")))
        register.register(keeping.flow.catalog, keeping.flow.spool, kept)
    assert (len(keeping.flow.rows(tables.instance, purged_at=None)), keeping.flow.audit()) == (1, before)
    register.register(keeping.flow.catalog, keeping.flow.spool, kept, last_try=True)
    assert len(keeping.flow.rows(tables.instance, purged_at=None)) == 5
    assert len(keeping.flow.audit()) > len(before)


def test_a_duplicate_of_what_was_corrected_never_counts(keeping: Keeping) -> None:
    keeping.flow.take(CHEST.payloads(), AT)
    come(keeping, CORRECTED, 1)
    keeping.finish(after(200))
    keeping.deliver()
    come(keeping, CHEST.having(StationName="ROUTER"), 300)
    purge(keeping)
    come(keeping, CHEST.having(StationName="ROUTER"), 1000)
    assert versions(keeping) == {"authoritative": IMAGES, "duplicate": IMAGES, "replaced": IMAGES}
    (counts, *_) = keeping.flow.rows(tables.instance, version="authoritative")
    assert counts["purged_at"]


@pytest.mark.parametrize("once", [True, False], ids=["in other bytes", "in other bytes, then as it was"])
def test_a_corrected_image_that_comes_back_makes_no_second_report(keeping: Keeping, once: bool) -> None:
    keeping.flow.take(CHEST.payloads(), AT)
    come(keeping, CORRECTED, 1)
    keeping.finish(after(200))
    keeping.deliver()
    purge(keeping)
    come(keeping, CORRECTED.having(StationName="ROUTER"), 1000)
    if not once:
        purge(keeping)
        come(keeping, CORRECTED, 2000)
    assert versions(keeping) == {"authoritative": IMAGES, "duplicate": IMAGES, "replaced": IMAGES}
    assert all(row["purged_at"] is None for row in keeping.flow.rows(tables.instance, version="authoritative"))
    assert len(keeping.flow.jobs()) == 1


def test_under_another_study_an_instance_is_refused_while_its_file_is_here_and_afterwards_is_kept_in_that_study(
    keeping: Keeping,
) -> None:
    keeping.finished("1")
    moved = CHEST.having(StudyInstanceUID="2.25.4711")
    with pytest.raises(StoreRefused) as refused:
        keep_all(keeping.flow.spool, moved.payloads([3]))
    assert refused.value.status == 0xA900
    purge(keeping)
    come(keeping, moved, 1000, range(3, 4))
    assert versions(keeping) == {"authoritative": IMAGES + 1}
    assert keeping.flow.study("2.25.4711")["purged_at"] is None
    assert keeping.purged() == [CHEST.study_uid]
