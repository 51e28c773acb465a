"""A clock that somebody sets, forward or back, while a node runs or while it is down: nothing closes too early, nothing
waits for as long as the clock was set by, and nothing is removed that is not old."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from node.catalog import ahead, audit, tables
from node.catalog.session import Catalog
from node.domain.audit import Event, EventKind, verify
from node.domain.breaker import BreakerState
from node.domain.delivery import LONGEST_WAIT
from node.domain.reception import Ending
from node.domain.retention import Retention
from node.flow import complete
from node.flow.clock import Clock
from node.flow.inbox import Inbox
from node.flow.retain import Retain
from node.spool import Spool
from tests.conftest import AUDIT_KEY
from tests.deliveries import with_results
from tests.flow import Flow
from tests.keeping import IMAGES, LATER, Keeping, nobody_else, payloads
from tests.studies import AT, Series, after

CHEST = Series()
HOUR_S, YEAR_S = 3600.0, 365 * 86400.0


@dataclass
class Watch:
    """A clock on the wall, a steady one, and what `complete` makes of them."""

    flow: Flow
    steady_s: float = 0.0
    set_by_s: float = 0.0
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(lambda: self.now, listening_since=self.now, steady_s=lambda: self.steady_s)
        self.turn()

    @property
    def now(self) -> datetime:
        return after(self.steady_s + self.set_by_s)

    def turn(self) -> list[str]:
        """Take turns until nothing more closes; the states of what there is."""
        while complete.step(self.flow.catalog, self.flow.associations, self.clock):
            pass
        return [row["state"] for row in (*self.flow.rows(tables.series), *self.flow.rows(tables.study))]

    def wait(self, seconds: float) -> list[str]:
        """So much time passes, a turn each second."""
        states = self.turn()
        end = self.steady_s + seconds
        while self.steady_s < end:
            self.steady_s = min(end, self.steady_s + 1)
            states = self.turn()
        return states

    def come(self, first: int, last: int, ending: Ending | None = None) -> None:
        """Some slices come now."""
        self.flow.receive(CHEST.headers(range(first, last)), self.now, ending)


OPEN, CLOSED = ["receiving", "receiving"], ["complete", "complete"]
BOTH_WAYS = pytest.mark.parametrize("set_by_s", [HOUR_S, -HOUR_S, YEAR_S, -YEAR_S], ids=["+1h", "-1h", "+1y", "-1y"])


@pytest.fixture
def watch(catalog: Catalog) -> Watch:
    return Watch(Flow(catalog))


@BOTH_WAYS
def test_a_series_that_still_comes_is_as_patiently_waited_for_as_ever(watch: Watch, set_by_s: float) -> None:
    """Quiet starts anew when the clock is set, and passes at its usual pace then."""
    watch.come(0, 30)
    watch.wait(1)
    watch.set_by_s = set_by_s
    assert watch.wait(14) == OPEN
    watch.come(30, 64)
    assert watch.wait(14) == OPEN
    assert watch.wait(2) == CLOSED
    assert len(watch.flow.jobs()) == 1


@pytest.mark.parametrize("set_by_s", [HOUR_S, -HOUR_S], ids=["+1h", "-1h"])
def test_the_hard_cap_holds_though_the_clock_is_set(watch: Watch, set_by_s: float) -> None:
    """What never pauses for long is closed after 15 min, by the steady clock."""
    watch.come(0, 1)
    watch.set_by_s = set_by_s
    for number in range(1, 64):
        assert watch.turn() == OPEN
        watch.steady_s += 14.5
        watch.come(number, number + 1)
    assert watch.turn()[0] == "complete"
    assert watch.flow.rows(tables.series)[0]["evidence"] == "hard cap"


def test_a_host_that_slept_listened_to_nobody_meanwhile(watch: Watch) -> None:
    """The steady clock stood, that on the wall went on: the same as if somebody had set it."""
    watch.come(0, 64)
    watch.set_by_s = HOUR_S
    assert watch.wait(14) == OPEN
    assert watch.wait(2) == CLOSED


def test_a_set_back_is_written_down_and_one_that_the_database_missed_is_told_later(watch: Watch) -> None:
    watch.come(0, 64)
    watch.turn()
    watch.set_by_s = -HOUR_S
    away = Catalog("sqlite:////no/such/folder/nodus.db", b"")
    with pytest.raises(Exception, match="unable to open"):
        watch.clock.follow(away)
    away.close()
    assert watch.wait(14) == OPEN
    assert watch.wait(2) == CLOSED
    assert len(watch.flow.audit("clock set back")) == 1


def test_the_audit_trail_holds_though_its_times_run_backwards(catalog: Catalog) -> None:
    """Its order is that of its rows: a time says what the clock said."""
    for seconds in (0, HOUR_S, -HOUR_S, 1):
        with catalog.writing() as session:
            audit.append(session, Event(EventKind.NODE_STARTED, at=after(seconds)))
    with catalog.reading() as session:
        entries = list(audit.entries(session))
        assert verify(entries, audit.head(session), [], AUDIT_KEY) == []
    assert [entry.at for entry in entries] != sorted(entry.at for entry in entries)


def test_what_is_told_late_did_not_come_later_than_now(catalog: Catalog) -> None:
    """It came before the clock was set back and is registered afterwards: no time lies ahead for that."""
    flow = Flow(catalog)
    flow.receive(CHEST.headers(), after(100 * YEAR_S))
    assert flow.study(CHEST.study_uid)["last_received_at"] < after(99 * YEAR_S)


def bring_back(catalog: Catalog, to: datetime, longest_wait: timedelta = timedelta(0)) -> None:
    with catalog.writing() as session:
        ahead.bring_back(session, to, longest_wait)


def test_results_that_wait_are_due_when_the_clock_was_set_back(catalog: Catalog) -> None:
    """All are postponed, the breaker opens; an hour back, and all is tried again at once, not in more than an hour."""
    delivering = with_results(catalog)
    delivering.pacs.away = True
    delivering.until_it_opens()
    delivering.pacs.away = False
    delivering.clock.goes_on(-HOUR_S - 600)
    assert not delivering.step()
    bring_back(catalog, delivering.clock())
    assert delivering.step()
    assert delivering.breaker.state is BreakerState.CLOSED
    assert set(delivering.states()) == {"delivered"}


def test_a_node_that_starts_after_the_clock_was_set_back_ends_no_wait_that_can_be(catalog: Catalog) -> None:
    delivering = with_results(catalog)
    delivering.pacs.away = True
    delivering.step()
    before = [row["not_before"] for row in delivering.rows()]
    bring_back(catalog, delivering.clock(), 2 * LONGEST_WAIT)
    assert [row["not_before"] for row in delivering.rows()] == before
    bring_back(catalog, after(-HOUR_S * 3), 2 * LONGEST_WAIT)
    assert {row["not_before"] for row in delivering.rows()} == {after(-HOUR_S * 3)}


def retaining(keeping: Keeping, watch: Watch) -> Retain:
    rule = Retention(after=timedelta(days=30))
    alone, steady_s = nobody_else, lambda: watch.steady_s

    def now() -> datetime:
        return LATER + (watch.now - AT)  # files are younger than AT: they would count as sent again

    return Retain(keeping.flow.catalog, keeping.flow.spool, keeping.data, rule, alone, now, steady_s)


def test_a_clock_a_year_ahead_removes_nothing(catalog: Catalog, spool: Spool, data: Path) -> None:
    """What is a month old by the steady clock goes; what is only so by a clock that was set stays, until a restart says
    that it is right."""
    keeping = Keeping.on(catalog, spool, data)
    watch = Watch(keeping.flow)
    keeping.finished("1", LATER)
    retain = retaining(keeping, watch)
    watch.set_by_s = YEAR_S
    retain.step()
    assert keeping.purged() == []
    watch.set_by_s = 0
    retain.step()
    assert keeping.purged() == []
    watch.steady_s += 31 * 86400
    retain.step()
    assert len(keeping.purged()) == 1


def test_a_clock_that_was_set_right_removes_by_age_after_a_restart(catalog: Catalog, spool: Spool, data: Path) -> None:
    keeping = Keeping.on(catalog, spool, data)
    watch = Watch(keeping.flow)
    keeping.finished("1", LATER)
    watch.set_by_s = YEAR_S
    retaining(keeping, watch).step()
    assert len(keeping.purged()) == 1


def test_a_study_sent_again_after_it_was_removed_and_the_clock_set_back_stays(
    catalog: Catalog, spool: Spool, data: Path
) -> None:
    """Its rows say that it is gone since a moment still to come; what came since is kept."""
    keeping = Keeping.on(catalog, spool, data)
    series = keeping.finished("1")
    retain = keeping.retain(now=datetime.now(UTC) + timedelta(hours=1))
    retain.step()
    assert keeping.images() == 0
    bring_back(catalog, datetime.now(UTC))
    keeping.flow.take(payloads(series), datetime.now(UTC))
    retain.sweep(datetime.now(UTC))
    assert keeping.images() == IMAGES
    assert keeping.purged() == []


def test_a_spool_is_not_read_again_and_again_because_the_clock_was_set_back() -> None:
    """A gap that was noted an hour ahead is no gap any more once the spool was read."""
    inbox = Inbox()
    inbox._last_gap_at = datetime.now(UTC) + timedelta(hours=1)
    inbox.rescanned(datetime.now(UTC))
    assert inbox.incomplete_since is None
