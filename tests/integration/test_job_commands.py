"""`nodus jobs`, `retry`, `cancel`, `prioritise` and `drain` as they are typed."""

from pathlib import Path

import pytest

from node.catalog.session import Catalog
from node.domain.job import Failure
from tests.conftest import Typed
from tests.flow import Flow, queued
from tests.studies import after


@pytest.fixture
def flow(left_catalog: Catalog) -> Flow:
    """Job 1 is dead and job 3 is its notice; job 2 waits."""
    left = queued(left_catalog, studies=2)
    for attempt in range(3):
        left.fail(left.claimed(1, after(100 * attempt)), Failure.UNKNOWN, after(100 * attempt))
    left.catalog.close()
    return left


@pytest.fixture(autouse=True)
def _there(flow: Flow, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are typed for that directory."""
    monkeypatch.setenv("NODUS_DATA", str(data))


def test_dead_jobs_are_listed_with_what_happened(typed: Typed) -> None:
    code, said = typed("jobs", "--state", "dead")
    assert code == 0
    assert all(each in said for each in ("dead", "unknown", "It broke."))
    assert "queued" not in said


def test_one_job_or_all_dead_ones_are_retried_but_not_both_or_neither(typed: Typed, flow: Flow) -> None:
    assert typed("retry") == typed("retry", "1", "--all")
    assert typed("retry")[0] == 2
    assert "1 dead jobs are done again" in typed("retry", "--all")[1]
    assert [job["state"] for job in flow.jobs()] == ["superseded", "queued", "superseded", "queued"]
    assert "Job 1 is superseded" in typed("retry", "1")[1]


def test_a_priority_may_be_below_zero(typed: Typed, flow: Flow) -> None:
    assert typed("prioritise", "2", "-3") == (0, "Job 2 has priority -3.\n")
    assert flow.jobs()[1]["priority"] == -3
    assert typed("prioritise", "2", "much")[0] == 2
    assert typed("prioritise", "2", "--much")[0] == 2


def test_a_cancelled_job_says_how_to_do_it_after_all(typed: Typed, flow: Flow) -> None:
    assert typed("cancel", "2") == (0, "Job 2 is cancelled; `nodus retry 2` does it again.\n")
    assert typed("cancel", "2") == (1, "nodus: Job 2 is cancelled, only one that waits or runs can be cancelled.\n")
    assert typed("cancel", "99") == (1, "nodus: There is no job 99.\n")


def test_a_drained_node_says_so_until_it_is_not(typed: Typed) -> None:
    assert typed("drain", "--timeout", "5")[0] == 0
    assert '"drained": true' in typed("status", "--json")[1]
    assert typed("drain", "--off") == (0, "Jobs begin again.\n")
    assert '"drained": false' in typed("status", "--json")[1]
