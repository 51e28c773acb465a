"""catalog/audit.py and `nodus audit` on both databases: written with the change, chained, and checked."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from node.admin import trail
from node.audit.anchor import Anchors
from node.catalog import audit, tables
from node.catalog.session import Catalog
from node.domain.audit import GENESIS, Anchor, Event, EventKind, verify
from node.settings import Settings
from tests.conftest import AUDIT_KEY
from tests.flow import Flow
from tests.studies import Series, after


def write(catalog: Catalog, count: int, study: str = "", kind: EventKind = EventKind.JOB_DONE) -> None:
    for number in range(count):
        with catalog.writing() as session:
            audit.append(session, Event(kind, study_instance_uid=study, detail={"number": number}))


def problems(catalog: Catalog) -> list[str]:
    with catalog.reading() as session:
        return verify(audit.entries(session), audit.head(session), [], AUDIT_KEY)


def settings_of(catalog: Catalog, data: Path) -> Settings:
    (data / "audit.key").write_bytes(AUDIT_KEY)
    (data / "audit.key").chmod(0o600)
    return Settings(data=data, database_url=catalog.engine.url.render_as_string(hide_password=False))


def test_a_fresh_chain_is_empty_and_well(catalog: Catalog) -> None:
    with catalog.reading() as session:
        assert audit.head(session) == Anchor(0, GENESIS)
    assert problems(catalog) == []


def test_rows_stand_in_the_chain_in_their_order(catalog: Catalog) -> None:
    write(catalog, 3)
    with catalog.writing() as session:
        audit.append(session, Event(EventKind.JOB_DEAD))
        audit.append(session, Event(EventKind.JOB_RETRIED))
    entries = Flow(catalog).audit()
    assert [entry.seq for entry in entries] == [1, 2, 3, 4, 5]
    assert [entry.kind for entry in entries][3:] == ["job dead", "job retried"]
    assert problems(catalog) == []


def test_what_is_rolled_back_leaves_no_row(catalog: Catalog) -> None:
    with pytest.raises(RuntimeError), catalog.writing() as session:
        audit.append(session, Event(EventKind.JOB_DONE))
        raise RuntimeError
    write(catalog, 1)
    assert [entry.seq for entry in Flow(catalog).audit()] == [1]
    assert problems(catalog) == []


def test_many_writers_at_once_never_fork_the_chain(catalog: Catalog) -> None:
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(write, catalog, 10) for _ in range(6)]:
            done.result()
    assert [entry.seq for entry in Flow(catalog).audit()] == list(range(1, 61))
    assert problems(catalog) == []


def test_a_check_sees_one_moment_while_others_go_on_writing(catalog: Catalog) -> None:
    write(catalog, 3)
    with catalog.reading() as session:
        head = audit.head(session)
        write(catalog, 2)
        assert verify(audit.entries(session), head, [], AUDIT_KEY) == []
    assert problems(catalog) == []


def test_rows_can_be_chosen_by_study_by_kind_and_by_age(catalog: Catalog) -> None:
    write(catalog, 2, "1.1")
    write(catalog, 2, "1.2", EventKind.JOB_DEAD)
    with catalog.reading() as session:
        assert [entry.seq for entry in audit.entries(session, study_instance_uid="1.2")] == [3, 4]
        assert [entry.seq for entry in audit.entries(session, kind="job done")] == [1, 2]
        assert [entry.seq for entry in audit.entries(session, newest=3)] == [2, 3, 4]
        assert [entry.seq for entry in audit.entries(session, study_instance_uid="1.1", newest=1)] == [2]


def test_a_destination_with_a_long_name_is_written_down_like_any_other(catalog: Catalog) -> None:
    with catalog.writing() as session:
        host = ".".join(["orthanc", "a" * 60, "b" * 60, "svc", "cluster", "local"])
        audit.append(session, Event(EventKind.RESULT_DELIVERED, actor="PACS", address=f"{host}:4242"))
    assert Flow(catalog).audit()[0].address.endswith("local:4242")
    assert problems(catalog) == []


def test_an_association_and_a_study_batch_leave_one_row_each(catalog: Catalog) -> None:
    flow = Flow(catalog)
    flow.receive(Series().headers())
    flow.receive(Series("2").headers(), after(1))
    assert [entry.kind for entry in flow.audit()] == ["instances registered"] * 2


@pytest.mark.parametrize(
    ("tamper", "sentence"),
    [
        (update(tables.audit).where(tables.audit.c.seq == 3).values(detail="{}"), "Row 3 was altered"),
        (update(tables.audit).where(tables.audit.c.seq == 3).values(job_id=7), "Row 3 was altered"),
        (delete(tables.audit).where(tables.audit.c.seq == 3), "Row 3 is missing: row 4 follows row 2."),
        (delete(tables.audit).where(tables.audit.c.seq == 6), "The head says 6 rows, the table ends at row 5."),
        (delete(tables.audit), "The head says 6 rows, the table ends at row 0."),
    ],
)
def test_verify_finds_what_was_done_to_the_table(catalog: Catalog, data: Path, tamper: object, sentence: str) -> None:
    write(catalog, 6)
    settings = settings_of(catalog, data)
    assert trail.audit_verify(settings).well
    with catalog.engine.begin() as connection:
        connection.execute(tamper)  # type: ignore[call-overload]
    view = trail.audit_verify(settings)
    assert not view.well
    assert any(problem.startswith(sentence) for problem in view.data["problems"])


def test_verify_finds_a_tail_that_was_cut_with_its_head_by_the_anchor(catalog: Catalog, data: Path) -> None:
    write(catalog, 4)
    settings = settings_of(catalog, data)
    with catalog.reading() as session:
        at_four = audit.head(session)
    write(catalog, 2)
    with catalog.reading() as session:
        Anchors(data / "audit.anchors").add(audit.head(session))
    with catalog.engine.begin() as connection:
        connection.execute(delete(tables.audit).where(tables.audit.c.seq > 4))
        connection.execute(update(tables.audit_head).values(seq=4, hash=at_four.hash))
    assert trail.audit_verify(settings).data["problems"] == ["The anchor of row 6 does not match the table."]


def test_verify_says_what_it_cannot_see(catalog: Catalog, data: Path) -> None:
    write(catalog, 2)
    view = trail.audit_verify(settings_of(catalog, data))
    assert "The last anchor is at row 0: a tail cut after it, head and all, cannot be seen." in view.note


def test_another_key_verifies_nothing(catalog: Catalog, data: Path) -> None:
    write(catalog, 3)
    settings = settings_of(catalog, data)
    (data / "audit.key").write_bytes(b"x" * 32)
    assert len(trail.audit_verify(settings).data["problems"]) == 3


def test_export_gives_every_row_and_list_the_newest(catalog: Catalog, data: Path) -> None:
    write(catalog, 5)
    settings = settings_of(catalog, data)
    assert len(list(trail.audit_export(settings))) == 6  # its own is in it
    assert [row["seq"] for row in trail.audit_list(settings, "", "", 2).rows] == [5, 6]
