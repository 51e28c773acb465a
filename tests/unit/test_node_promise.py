"""What we commit to: what is here, of the class that was said, and stays."""

from datetime import UTC, datetime, timedelta

import pytest

from node.domain.promise import AWAITED_FOR, MOVES, Kept, PromiseState, Verdict, Wanted, judged, look_again, moved
from node.domain.retention import Retention
from node.errors import IllegalMove, SettingsError
from node.settings import load

CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"


def test_each_instance_is_judged_once_and_for_itself() -> None:
    wanted = [Wanted(CT, "1"), Wanted(CT, "2"), Wanted(CT, "1"), Wanted(CT, "3"), Wanted(CT, "4")]
    kept = {"1": Kept(CT, True), "2": Kept(MR, True), "4": Kept(CT, False)}
    assert judged(wanted, kept) == Verdict(
        (Wanted(CT, "1"),), ((Wanted(CT, "2"), 0x0119), (Wanted(CT, "3"), 0x0112), (Wanted(CT, "4"), 0x0110))
    )


def test_only_who_removes_nothing_keeps_all() -> None:
    assert Retention().keeps_all
    assert not Retention(below_free_bytes=1).keeps_all
    assert not Retention(below_free_fraction=0.1).keeps_all


@pytest.mark.parametrize(
    "purging", [{"retention_days": 90}, {"purge_below_free_gib": 20, "purge_below_free_fraction": 0.2}]
)
def test_a_node_that_removes_images_commits_to_nobody_but_by_another_that_does_not(purging: dict[str, float]) -> None:
    sender = {"ae_title": "CT1", "network": "10.0.0.5", "commitment_port": 104}
    assert load(senders=[sender]).senders[0].senders()[0].commitment_port == 104
    with pytest.raises(SettingsError, match="nothing can be committed to CT1"):
        load(senders=[sender], **purging)
    archive = {"ae_title": "ARCHIVE", "host": "10.0.0.9", "port": 104, "commitment": "find"}
    rules = [{"name": "all", "forward": ["ARCHIVE"]}]
    with pytest.raises(SettingsError, match="nothing can be committed to CT1"):
        load(senders=[sender], destinations=[archive], rules=rules, **purging)
    load(senders=[sender], destinations=[archive | {"commitment": "commitment"}], rules=rules, **purging)


def test_what_is_awaited_is_looked_at_ever_more_seldom_and_not_for_ever() -> None:
    at, longest = datetime(2025, 3, 4, tzinfo=UTC), timedelta(minutes=10)
    for waited, more in ((timedelta(0), timedelta(seconds=2)), (timedelta(minutes=4), timedelta(minutes=1))):
        assert look_again(at, at + waited, longest) == at + waited + more
    assert look_again(at, at + AWAITED_FOR / 2, longest) == at + AWAITED_FOR / 2 + longest
    assert look_again(at, at + AWAITED_FOR, longest) is None


@pytest.mark.parametrize("now", list(PromiseState))
@pytest.mark.parametrize("then", list(PromiseState))
def test_only_moves_of_the_table_are_made(now: PromiseState, then: PromiseState) -> None:
    if then in MOVES[now]:
        assert moved(now, then) is then
    else:
        with pytest.raises(IllegalMove):
            moved(now, then)
