"""The operator's commands on a data directory: what they print, and exit code 0 only when all is well."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import update

from node import cli
from node.catalog import audit, jobs, tables
from node.catalog.session import Catalog
from node.domain.audit import Event, EventKind
from node.domain.peers import Destination
from tests.conftest import Typed
from tests.flow import Flow
from tests.servers import answering_pacs
from tests.studies import Series, after

SHORT = Series("short", count=20)


@pytest.fixture
def flow(left_catalog: Catalog) -> Flow:
    """A data directory that a node has left: one study read and delivered, one not analysed."""
    left = Flow(left_catalog)
    left.destination(Destination("PACS", "127.0.0.1", 1))
    left.receive(Series().headers())
    left.receive(SHORT.headers())
    left.complete(after(3))
    left.finish(1, after(4))
    left.catalog.close()
    return left


@pytest.fixture
def run(flow: Flow, data: Path, typed: Typed) -> Typed:
    """`nodus ARGUMENTS` on that directory."""
    return lambda *arguments: typed(*arguments, "--data", str(data))


def worker_is_there(flow: Flow) -> None:
    """A worker says so now."""
    with flow.catalog.writing() as session:
        jobs.worker_seen(session, "w1", 1, datetime.now(UTC))
    flow.catalog.close()


def test_status_counts_and_is_well(run: Typed, flow: Flow) -> None:
    worker_is_there(flow)
    code, said = run("status", "--json")
    assert code == 0
    told = json.loads(said)
    assert told["studies"] == {"under way": 1, "not analysed": 1}
    assert (told["jobs"], told["results"]) == ({"done": 1, "queued": 1}, {"held": 2})
    assert (told["conflicts"], told["disk_low"]) == (0, False)
    assert (told["workers"], told["results_overdue"], told["results_stranded"]) == (1, 0, 0)


@pytest.mark.parametrize(
    "trouble",
    [
        update(tables.job).where(tables.job.c.id == 2).values(state="dead"),
        update(tables.outbox).where(tables.outbox.c.id == 1).values(state="refused"),
        update(tables.study).where(tables.study.c.id == 1).values(conflicts=1),
        update(tables.worker).values(seen_at=after(0)),
        update(tables.outbox).where(tables.outbox.c.id == 1).values(state="due", failures=1),
        update(tables.destination).values(enabled=0),
    ],
    ids=[
        "a dead job",
        "a refused result",
        "a conflict",
        "a job without a worker",
        "an overdue result",
        "a result for nobody",
    ],
)
def test_status_ends_with_one_when_something_needs_a_person(run: Typed, flow: Flow, trouble: object) -> None:
    worker_is_there(flow)
    assert run("status")[0] == 0
    with flow.catalog.writing() as session:
        session.execute(trouble)  # type: ignore[call-overload]
    flow.catalog.close()
    assert run("status")[0] == 1


@pytest.mark.parametrize(
    "fine",
    [
        update(tables.outbox).where(tables.outbox.c.id == 1).values(state="due", failures=0),
        update(tables.outbox).where(tables.outbox.c.id == 1).values(
            state="due", failures=1, created_at=datetime.now(UTC)
        ),
        update(tables.job).where(tables.job.c.id == 2).values(state="running"),
    ],
    ids=["due and never failed", "failing since a moment ago", "a job in hand"],
)  # fmt: skip
def test_what_goes_its_way_is_well(run: Typed, flow: Flow, fine: object) -> None:
    worker_is_there(flow)
    with flow.catalog.writing() as session:
        session.execute(fine)  # type: ignore[call-overload]
    flow.catalog.close()
    assert run("status")[0] == 0


@pytest.mark.parametrize(
    "because",
    [
        update(tables.job).where(tables.job.c.id == 1).values(state="superseded"),
        update(tables.result).values(purged_at=datetime.now(UTC)),
        update(tables.destination).values(enabled=0),
    ],
    ids=["a newer job stands for the study", "its files were removed", "the destination is used no more"],
)
def test_a_refused_result_that_nobody_misses_is_well(run: Typed, flow: Flow, because: object) -> None:
    worker_is_there(flow)
    with flow.catalog.writing() as session:
        session.execute(update(tables.outbox).values(state="refused"))
    flow.catalog.close()
    assert run("status")[0] == 1
    with flow.catalog.writing() as session:
        session.execute(because)  # type: ignore[call-overload]
    flow.catalog.close()
    code, said = run("status", "--json")
    assert (code, json.loads(said)["results_refused"]) == (0, 0)


def test_status_ends_with_one_when_the_disk_is_low(run: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODUS_MINIMUM_FREE_GIB", "1e9")
    code, said = run("status", "--json")
    assert (code, json.loads(said)["disk_low"]) == (1, True)


def test_studies_are_listed_newest_first(run: Typed) -> None:
    code, said = run("studies", "--json")
    rows = json.loads(said)
    assert code == 0
    assert [row["study_instance_uid"] for row in rows] == [SHORT.study_uid, Series().study_uid]
    assert [(row["images"], row["job"], row["delivery"]) for row in rows] == [
        (20, "queued", {}),
        (64, "done", {"held": 2}),
    ]
    assert SHORT.study_uid in run("studies")[1]


def test_one_study_tells_why_it_was_not_read(run: Typed) -> None:
    code, said = run("studies", SHORT.study_uid)
    assert code == 0
    assert "outcome: not analysed There are fewer than 40 slices." in said
    because = "Complete: 20 images, association released, a gapless stack, then 3.0 s of quiet (3 s are enough)."
    assert " ".join(said.split()).count(because) == 2  # the study and its series
    told = json.loads(run("studies", SHORT.study_uid, "--json")[1])
    assert [job["kind"] for job in told["jobs"]] == ["notice"]
    assert "token" not in told["jobs"][0]


def test_a_study_that_is_not_there_is_said(run: Typed) -> None:
    assert run("studies", "1.2.3") == (1, "nodus: There is no such study.\n")


def test_jobs_can_be_chosen_by_state(run: Typed) -> None:
    assert [row["id"] for row in json.loads(run("jobs", "--json")[1])] == [2, 1]
    assert [row["id"] for row in json.loads(run("jobs", "--state", "done", "--json")[1])] == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom's socket, never closed
def test_destinations_show_what_waits_and_echo_whether_they_answer(run: Typed) -> None:
    (row,) = json.loads(run("destinations", "--json")[1])
    assert (row["ae_title"], row["outbox"], row["enabled"]) == ("PACS", {"held": 2}, 1)
    code, said = run("destinations", "echo", "--json")
    assert code == 1
    assert json.loads(said)[0]["answer"] == "PACS at 127.0.0.1:1 cannot be reached, or ended the association at once."


def test_a_destination_without_a_host_costs_nobody_else_the_answer(run: Typed, flow: Flow) -> None:
    with answering_pacs() as pacs:
        flow.destination(Destination("PACS", "127.0.0.1", pacs.port), Destination("GONE", "pacs.invalid", 104))
        flow.catalog.close()
        code, said = run("destinations", "echo", "--json")
    assert code == 1
    assert {row["ae_title"]: row["answer"] for row in json.loads(said)} == {
        "PACS": "ok", "GONE": "GONE at pacs.invalid:104: its host cannot be found."
    }  # fmt: skip


def test_a_sender_can_be_allowed_and_denied(run: Typed) -> None:
    assert run("senders", "allow", "CT1@10.0.0.5") == (0, "CT1 from 10.0.0.5/32 is allowed.\n")
    assert run("senders", "deny", "*@10.0.0.0/24") == (0, "* from 10.0.0.0/24 is denied.\n")
    rows = json.loads(run("senders", "--json")[1])
    assert [(row["ae_title"], row["network"], row["standing"]) for row in rows] == [
        ("CT1", "10.0.0.5/32", "allowed"), ("*", "10.0.0.0/24", "denied")
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["[/x]", "[red]X", ":smile:", "A@B"])
def test_a_name_that_a_stranger_chose_is_shown_as_it_is_and_can_be_allowed(run: Typed, flow: Flow, name: str) -> None:
    assert run("senders", "deny", f"{name}@10.0.0.5") == (0, f"{name} from 10.0.0.5/32 is denied.\n")
    assert name in run("senders")[1]
    with flow.catalog.writing() as session:
        audit.append(session, Event(EventKind.ASSOCIATION_REFUSED, actor=name))
    flow.catalog.close()
    code, said = run("audit", "list", "--kind", "association refused")
    assert code == 0
    assert name in said


def test_what_steers_a_terminal_is_not_printed(run: Typed, flow: Flow) -> None:
    with flow.catalog.writing() as session:
        audit.append(session, Event(EventKind.ASSOCIATION_REFUSED, actor="\x1b[2J\x9b31mCT"))
    flow.catalog.close()
    said = run("audit", "list")[1]
    assert "\x1b" not in said
    assert "\x9b" not in said
    assert "�[2J�31mCT" in said


@pytest.mark.parametrize("caller", ["CT1@nowhere", "@10.0.0.5", "A TITLE TOO LONG TO BE ONE@10.0.0.5", "CT1@", "CT1"])
def test_what_is_no_caller_is_refused_in_a_sentence(run: Typed, caller: str) -> None:
    code, said = run("senders", "allow", caller)
    assert code == 1
    assert said.startswith("nodus: ")
    assert said.count("\n") == 1


def test_the_audit_trail_is_listed_verified_and_exported(run: Typed, flow: Flow) -> None:
    code, said = run("audit", "verify", "--json")
    rows = json.loads(said)["rows"]
    assert (code, json.loads(said)["problems"]) == (0, [])
    assert [row["seq"] for row in json.loads(run("audit", "list", "--last", "2", "--json")[1])] == [rows - 1, rows]
    listed = json.loads(run("audit", "list", "--study", SHORT.study_uid, "--kind", "job created", "--json")[1])
    assert [row["job_id"] for row in listed] == [2]
    exported = [json.loads(line) for line in run("audit", "export")[1].splitlines()]
    assert [entry["seq"] for entry in exported] == list(range(1, rows + 4))
    assert [entry["kind"] for entry in exported[rows:]] == ["audit log used"] * 3
    again = [json.loads(line) for line in run("audit", "export", "--json")[1].splitlines()]
    assert again[:-1] == exported
    with flow.catalog.writing() as session:
        session.execute(update(tables.audit).where(tables.audit.c.seq == 2).values(actor="nobody"))
    flow.catalog.close()
    code, said = run("audit", "verify")
    assert code == 1
    assert "Row 2 was altered" in said


def test_a_database_that_is_none_is_said(run: Typed, data: Path) -> None:
    (data / "nodus.db").write_bytes(b"not a database at all, but long enough to look at" * 100)
    code, said = run("status")
    assert code == 1
    assert said.startswith("nodus: ")
    assert "Traceback" not in said


@pytest.mark.parametrize("name", ["report", "model"])
def test_a_command_that_does_not_exist_asks_nobody_to_install_anything(run: Typed, name: str) -> None:
    code, said = run(name)
    assert code == 2
    assert f"No such command '{name}'" in said
    assert "nodus[ai]" not in said


def test_without_the_ai_extra_its_commands_say_what_to_install(run: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli.options, "_extras", dict)
    code, said = run("analyse")
    assert code == 1
    assert "needs the AI extra: install nodus[ai]" in said
