"""What an operator types about destinations and alerts: sentences, and exit code 0 only when all is well."""

import json
from pathlib import Path

import pytest
from sqlalchemy import update

from node.catalog import alerts, tables
from node.catalog.session import Catalog
from node.domain.alert import AlertKind, Condition
from node.domain.peers import Destination
from node.flow import release
from tests.conftest import Typed
from tests.flow import Flow
from tests.studies import AT, Series, after


@pytest.fixture
def flow(left_catalog: Catalog) -> Flow:
    """A data directory that a node has left: one study read, its report refused."""
    left = Flow(left_catalog)
    left.destination(Destination("PACS", "127.0.0.1", 1))
    left.receive(Series().headers())
    left.complete(after(3))
    left.finish(1, after(4))
    release.step(left.catalog, after(4))
    change(left, update(tables.outbox).values(state="refused"))
    return left


def change(flow: Flow, statement: object) -> None:
    with flow.catalog.writing() as session:
        session.execute(statement)  # type: ignore[call-overload]
    flow.catalog.close()


@pytest.fixture
def run(flow: Flow, data: Path, typed: Typed) -> Typed:
    """`nodus ARGUMENTS` on that directory."""
    return lambda *arguments: typed(*arguments, "--data", str(data))


def raised(flow: Flow, kind: AlertKind, subject: str) -> None:
    with flow.catalog.writing() as session:
        alerts.raise_(session, Condition(kind, subject), AT)
    flow.catalog.close()


def test_alerts_are_listed_and_acknowledged(run: Typed, flow: Flow) -> None:
    assert run("alerts")[0] == 0
    raised(flow, AlertKind.CLOCK_JUMPED, "")
    code, said = run("alerts", "--json")
    assert (code, [(row["id"], row["kind"], row["subject"]) for row in json.loads(said)]) == (
        1, [(1, "clock jumped", "")]
    )  # fmt: skip
    assert run("alerts", "acknowledge", "1") == (0, "Alert 1 (clock jumped) is not counted any more.\n")
    assert run("alerts", "acknowledge", "1")[1] == "nodus: There is no open alert 1; `nodus alerts` lists them.\n"
    assert run("alerts")[0] == 0
    assert "clock jumped" in run("alerts", "list", "--all")[1]


def test_a_refused_result_is_due_again_and_a_delivered_one_only_when_it_is_said_to_be_lost(
    run: Typed, flow: Flow
) -> None:
    study = Series().study_uid
    assert run("resend", study) == (0, "2 results of job 1 are due again.\n")
    assert {state for _, _, state in flow.outbox()} == {"due"}
    change(flow, update(tables.outbox).values(state="delivered"))
    assert run("resend", study)[0] == 1
    assert run("resend", study, "--delivered", "--to", "PACS")[0] == 0
    assert {state for _, _, state in flow.outbox()} == {"due"}
    assert [entry.actor for entry in flow.audit("results resent")] == ["operator"] * 2


def test_nothing_becomes_due_at_a_destination_that_the_settings_name_no_more(run: Typed, flow: Flow) -> None:
    """It would wait there for ever, and keep its study from being purged."""
    study = Series().study_uid
    flow.destination(Destination("OTHER", "127.0.0.1", 2))
    flow.catalog.close()
    assert run("resend", study)[1].startswith("nodus: No result of this study was refused by a destination in use.")
    assert {state for _, _, state in flow.outbox()} == {"refused"}
    flow.destination(Destination("OTHER", "127.0.0.1", 2), Destination("PACS", "127.0.0.1", 1))
    flow.catalog.close()
    assert run("resend", study)[0] == 0


def test_what_retention_removed_cannot_be_sent_again(run: Typed, flow: Flow) -> None:
    change(flow, update(tables.result).values(purged_at=AT))
    assert "removed by retention" in run("resend", Series().study_uid)[1]
    assert {state for _, _, state in flow.outbox()} == {"refused"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("resend", "1.2.3"), "There is no such study, or it has no results."),
        (("resend", Series().study_uid, "--to", "NOBODY"), "There is no destination NOBODY;"),
        (("destinations", "pause", "NOBODY"), "There is no destination NOBODY;"),
        (("destinations", "resume", "NOBODY"), "There is no destination NOBODY;"),
    ],
)
def test_what_is_not_there_is_said(run: Typed, arguments: tuple[str, ...], said: str) -> None:
    code, printed = run(*arguments)
    assert code == 1
    assert printed.startswith(f"nodus: {said}")


def test_a_destination_is_paused_once_and_resumed(run: Typed, flow: Flow) -> None:
    assert run("destinations", "pause", "PACS")[0] == 0
    assert run("destinations", "pause", "PACS") == (1, "nodus: A destination cannot go from paused to paused.\n")
    assert json.loads(run("status", "--json")[1])["destinations"] == {"paused": 1}
    assert run("destinations", "resume", "PACS") == (0, "What waits for PACS is sent now.\n")
    assert json.loads(run("status", "--json")[1])["destinations"] == {"closed": 1}
