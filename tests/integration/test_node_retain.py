"""flow/retain.py on both databases: what is finished goes when its time has come, and nothing else ever does."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Update, update

from node.catalog import tables
from node.catalog.session import Catalog
from node.domain.delivery import OutboxState
from node.domain.job import Failure
from node.domain.retention import REMOVED, Finished, Retention, Why, going
from node.domain.study import VersionKind
from node.flow import register, retain
from node.flow.inbox import Inbox
from node.removal import came_after, remove
from node.spool import Spool, changed_at
from tests.conftest import AUDIT_KEY
from tests.keeping import AT, IMAGES, LATER, MONTH, Keeping, after
from tests.servers import eventually
from tests.studies import Series, keep_all, reception

SPACE = Retention(below_free_fraction=1.0)
"""There is never enough."""


@pytest.fixture
def keeping(catalog: Catalog, spool: Spool, data: Path) -> Keeping:
    """On each database."""
    return Keeping.on(catalog, spool, data)


@pytest.fixture
def small(sqlite_template: Path, spool: Spool, data: Path) -> Iterator[Keeping]:
    """On SQLite, for what is about files."""
    shutil.copy(sqlite_template, data / "nodus.db")
    catalog = Catalog(f"sqlite:///{data}/nodus.db", AUDIT_KEY)
    yield Keeping.on(catalog, spool, data)
    catalog.close()


def test_a_delivered_study_goes_when_it_is_old_enough_and_its_rows_stay(keeping: Keeping) -> None:
    series = keeping.finished("1")
    just_before = AT + timedelta(days=30) - timedelta(seconds=1)
    keeping.retain(now=just_before).step()
    assert (keeping.images(), keeping.purged()) == (IMAGES, [])
    assert not keeping.retain().step()
    assert (keeping.images(), keeping.results()) == (0, ["1-SEG-1.dcm"])  # which no row names
    assert keeping.purged() == [series.study_uid]
    assert len(keeping.flow.rows(tables.instance)) == IMAGES
    (entry,) = keeping.flow.audit("study purged")
    assert entry.study_instance_uid == series.study_uid
    size = sum(row["size"] for row in keeping.flow.rows(tables.instance))
    assert entry.detail == f'{{"bytes": {size}, "images": 40, "results": 3, "why": "age"}}'


def test_as_it_comes_nothing_ever_goes(small: Keeping) -> None:
    small.finished("1")
    small.retain(Retention()).step()
    assert (small.images(), len(small.results())) == (IMAGES, 4)


def test_for_want_of_space_the_oldest_go_first_and_no_more_than_are_needed() -> None:
    studies = [Finished(number, str(number), after(number), 100) for number in range(4)]
    assert [each.id for each, _ in going(Retention(below_free_bytes=1), studies, AT, shortage=150)] == [0, 1]
    assert list(going(Retention(below_free_bytes=1), studies, AT, shortage=0)) == []
    both = Retention(after=timedelta(seconds=10), below_free_bytes=1)
    assert [why for _, why in going(both, studies, after(10.5), shortage=150)] == [Why.AGE, Why.SPACE]


def test_the_larger_mark_says_how_much_space_is_wanted() -> None:
    assert Retention(None, 100, 0.5).shortage(60, 1000) == 440
    assert Retention(None, 100, 0.05).shortage(60, 1000) == 40


def test_a_low_disk_is_relieved_of_finished_studies_alone(keeping: Keeping) -> None:
    keeping.finished("1")
    keeping.finished("2", after(60))
    waiting = keeping.read("3", after(120))
    assert not keeping.retain(SPACE).step()
    assert len(keeping.purged()) == 2
    assert waiting.study_uid not in keeping.purged()
    assert keeping.images() == IMAGES


def conflict(keeping: Keeping) -> None:
    keeping.flow.rows(tables.study)
    with keeping.flow.catalog.writing() as session:
        session.execute(update(tables.study).values(conflicts=1))


def refused(keeping: Keeping) -> None:
    keeping.deliver(OutboxState.REFUSED)


def due(keeping: Keeping) -> None:
    keeping.deliver(OutboxState.DUE)


def held(keeping: Keeping) -> None:
    keeping.deliver(OutboxState.HELD)


def still_coming(keeping: Keeping) -> None:
    keeping.flow.take(Series("1").payloads([IMAGES]), after(60))


def waiting_job(keeping: Keeping) -> None:
    still_coming(keeping)
    keeping.flow.complete(after(64))


def running_job(keeping: Keeping) -> None:
    waiting_job(keeping)
    keeping.flow.claimed(2, after(64))


def dead_job(keeping: Keeping) -> None:
    running_job(keeping)
    job = keeping.flow.jobs()[-1]["id"]
    with keeping.flow.catalog.writing() as session:
        session.execute(update(tables.job).where(tables.job.c.id == job).values(state="dead"))
        session.execute(update(tables.study).values(outcome="not analysed"))


@pytest.mark.parametrize(
    "state", [conflict, refused, due, held, still_coming, waiting_job, running_job, dead_job],
    ids=lambda state: state.__name__,
)  # fmt: skip
def test_what_somebody_waits_for_or_must_decide_never_goes(keeping: Keeping, state: Callable[[Keeping], None]) -> None:
    keeping.finished("1")
    state(keeping)
    before = keeping.images()
    keeping.retain(SPACE).step()
    keeping.retain(MONTH).step()
    assert (keeping.images(), keeping.purged()) == (before, [])


@pytest.mark.parametrize(
    "because",
    [update(tables.job).values(state="superseded"), update(tables.destination).values(enabled=0)],
    ids=["a newer job stands for the study", "the destination is used no more"],
)
def test_a_refused_result_that_nobody_misses_keeps_nothing(keeping: Keeping, because: Update) -> None:
    keeping.finished("1")
    refused(keeping)
    keeping.retain().step()
    assert keeping.purged() == []
    with keeping.flow.catalog.writing() as session:
        session.execute(because)
    keeping.retain().step()
    assert (keeping.images(), len(keeping.purged())) == (0, 1)


def test_while_a_backup_is_made_nothing_goes(small: Keeping) -> None:
    @contextmanager
    def a_backup_is_made() -> Iterator[bool]:
        yield False

    small.finished("1")
    assert not small.retain(alone=a_backup_is_made).step()
    assert small.images() == IMAGES


def test_after_a_crash_between_mark_and_removal_the_files_go_at_the_next_start(
    small: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    small.finished("1")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(retain, "remove", crash)
        small.retain().step()
    assert small.images() == IMAGES
    small.retain().step()
    assert (small.images(), small.results()) == (0, ["1-SEG-1.dcm"])


def test_the_same_study_sent_again_is_kept_and_not_read_again(keeping: Keeping) -> None:
    series = keeping.finished("1")
    keeping.retain(now=datetime.now(UTC) + timedelta(seconds=0.2)).step()
    eventually_later(keeping)
    keeping.flow.take(series.payloads(), after(3600))
    assert (keeping.images(), keeping.purged()) == (IMAGES, [])
    keeping.flow.complete(after(3700))
    assert len(keeping.flow.jobs()) == 1
    assert keeping.flow.study(series.study_uid)["outcome"] == "findings"
    keeping.retain(now=AT + timedelta(days=30, minutes=1)).step()
    assert keeping.images() == IMAGES  # its time runs from when it came again
    keeping.retain().step()
    assert (keeping.images(), keeping.purged()) == (0, [series.study_uid])


def eventually_later(keeping: Keeping) -> None:
    """The clock passes the moment of the purge, as it would between a purge and days later."""
    with keeping.flow.catalog.writing() as session:
        for table in (tables.instance, tables.study):
            session.execute(update(table).where(table.c.purged_at.is_not(None)).values(purged_at=AT))


def purged_long_ago(keeping: Keeping, name: str = "1") -> Series:
    series = keeping.finished(name)
    keeping.retain().step()
    eventually_later(keeping)
    return series


def test_a_late_slice_of_a_purged_study_ends_in_a_plain_not_analysed(keeping: Keeping) -> None:
    series = purged_long_ago(keeping)
    keeping.flow.take(series.payloads([IMAGES]), after(3600))
    keeping.flow.complete(after(3700))
    study = keeping.flow.study(series.study_uid)
    assert (study["outcome"], study["reasons"], study["purged_at"]) == ("not analysed", [REMOVED], None)
    notice = keeping.flow.jobs()[-1]
    assert (notice["kind"], notice["predecessor_job_id"], notice["reasons"]) == ("notice", 1, [REMOVED])


def test_when_all_its_images_came_again_it_is_read(keeping: Keeping) -> None:
    series = purged_long_ago(keeping)
    keeping.flow.take(series.payloads([IMAGES]), after(3600))
    keeping.flow.complete(after(3700))
    keeping.flow.take(series.payloads(range(6)), after(7200))
    keeping.flow.complete(after(7300))
    assert len(keeping.flow.jobs()) == 2
    keeping.flow.take(series.payloads(range(6, IMAGES)), after(9000))
    keeping.flow.complete(after(9100))
    assert [job["kind"] for job in keeping.flow.jobs()] == ["analysis", "notice", "analysis"]
    assert keeping.flow.study(series.study_uid)["outcome"] == ""


def test_some_images_of_a_purged_study_sent_again_change_nothing(small: Keeping) -> None:
    series = purged_long_ago(small)
    small.flow.take(series.payloads(range(3)), after(3600))
    small.flow.complete(after(3700))
    assert len(small.flow.jobs()) == 1
    assert small.flow.study(series.study_uid)["outcome"] == "findings"


def test_an_image_that_comes_back_with_other_bytes_takes_the_place_of_the_removed_one(keeping: Keeping) -> None:
    series = purged_long_ago(keeping)
    keeping.flow.take(series.having(StationName="ROUTER").payloads(), after(3600))
    keeping.flow.complete(after(3700))
    versions = [row["version"] for row in keeping.flow.rows(tables.instance)]
    assert versions == [VersionKind.DUPLICATE] * IMAGES + [VersionKind.AUTHORITATIVE] * IMAGES
    assert len(keeping.flow.jobs()) == 1
    keeping.retain().step()
    assert keeping.images() == 0


def newest(spool: Spool) -> datetime:
    """When the last file came."""
    return max(changed_at(spool.absolute(path)) for path in spool.files())


def test_a_file_received_again_just_before_its_removal_stays_and_is_known_to_be_there(
    small: Keeping, spool: Spool
) -> None:
    series = small.finished("1")
    paths = list(spool.files())
    eventually(lambda: spool.time() > newest(spool), what="the files are older")
    at = spool.time()
    with small.flow.catalog.writing() as session:
        marked = retain.retention.purge(session, 1, at, decided=False)
    assert marked is not None
    (again,) = keep_all(spool, series.payloads([0]), reception(at, "again"))
    assert [path for path in paths if not remove(spool.absolute(path), at)] == [again.path]
    register.register(small.flow.catalog, spool, [again])
    (row,) = [row for row in small.flow.rows(tables.instance) if row["path"] == again.path]
    assert row["purged_at"] is None
    assert came_after(spool.absolute(again.path), at)


@pytest.mark.parametrize("ahead_s", [30, -30], ids=["ahead", "behind"])
def test_what_is_sent_again_right_after_a_purge_stays_though_the_clock_of_the_files_is_another(
    small: Keeping, ahead_s: float
) -> None:
    """As on a file server: whoever purges is ahead of it, or behind."""
    series = small.finished("1")
    ours = datetime.now(UTC) + timedelta(seconds=ahead_s)
    assert small.retain(now=ours).purge(Finished(1, series.study_uid, AT, 0), Why.OPERATOR)
    assert small.images() == 0
    small.flow.take(series.payloads(), datetime.now(UTC))
    small.retain(Retention(), now=ours).sweep(ours)
    assert small.images() == IMAGES
    assert [row for row in small.flow.rows(tables.instance) if row["purged_at"]] == []


@pytest.mark.parametrize("crashed", [False, True])
def test_what_was_registered_again_just_before_a_purge_stays_and_its_row_says_so(
    small: Keeping, spool: Spool, monkeypatch: pytest.MonkeyPatch, crashed: bool
) -> None:
    series = small.finished("1")
    eventually(lambda: spool.time() > newest(spool), what="the files are older")
    at = spool.time()
    monkeypatch.setattr(Spool, "time", lambda _: at)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    again = keep_all(spool, series.payloads(range(3)), reception(at, "again"))
    register.register(small.flow.catalog, spool, again)
    if crashed:
        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(retain, "remove", crash)
            small.retain(now=at).purge(Finished(1, series.study_uid, AT, 0), Why.OPERATOR)
        small.retain(Retention(), now=at).sweep(at)
    else:
        purged = small.retain(now=at).purge(Finished(1, series.study_uid, AT, 0), Why.OPERATOR)
        assert purged is not None
        assert len(purged.images) == IMAGES - 3
    here = [row["path"] for row in small.flow.rows(tables.instance) if row["purged_at"] is None]
    assert sorted(here) == sorted(spool.files()) == sorted(each.path for each in again)
    assert (small.purged(), small.flow.study(series.study_uid)["last_received_at"]) == ([], at)
    assert json.loads(small.flow.audit("instances registered")[-1].detail)["again"] == 3


def test_a_file_of_a_purged_study_that_nobody_told_of_is_found_at_the_next_start(small: Keeping) -> None:
    series = purged_long_ago(small)
    keep_all(small.flow.spool, series.payloads(range(3)), reception(after(3600), "crashed"))
    register.rescan(small.flow.catalog, small.flow.spool, Inbox())
    assert sum(row["purged_at"] is None for row in small.flow.rows(tables.instance)) == 3
    small.retain(now=after(3700)).step()
    assert small.images() == 3


def test_what_nobody_takes_from_the_embedded_broker_goes_after_a_day(small: Keeping) -> None:
    folder = small.data / "broker" / "messages"
    folder.mkdir(parents=True)
    for name, age in {"old": timedelta(days=2), "new": timedelta(hours=1)}.items():
        (folder / f"{name}.nodus.msg").write_text("{}")
        moment = (LATER - age).timestamp()
        os.utime(folder / f"{name}.nodus.msg", (moment, moment))
    small.retain(Retention()).step()
    assert [path.name for path in folder.iterdir()] == ["new.nodus.msg"]


def test_rows_of_killed_workers_go_after_a_week(small: Keeping) -> None:
    with small.flow.catalog.writing() as session:
        for name, age in {"old": 8, "new": 6}.items():
            seen_at = LATER - timedelta(days=age)
            session.execute(tables.worker.insert().values(name=name, slots=1, seen_at=seen_at))
    small.retain(Retention()).step()
    assert [row["name"] for row in small.flow.rows(tables.worker)] == ["new"]


def test_a_failed_study_is_kept_for_its_retry(small: Keeping) -> None:
    small.flow.take(Series("1", count=IMAGES).payloads(), AT)
    small.flow.complete(after(4))
    for attempt in range(3):
        small.flow.fail(small.flow.claimed(1, after(1000 * attempt + 5)), Failure.UNKNOWN, after(1000 * attempt + 6))
    small.finish(after(5000))
    small.deliver()
    small.retain().step()
    assert small.images() == IMAGES
