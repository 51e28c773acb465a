"""Eight kills in each way to run a node; `make soak` does five hundred."""

import random
from collections import Counter
from itertools import islice

import click
import pytest

from tests.endurance.exams import Chest, make_chest
from tests.endurance.kills import campaign, rounds
from tests.endurance.moments import Stage
from tests.endurance.site import Setup
from tests.endurance.victims import victims_of

KILLS, SEED = 8, 1


@pytest.fixture(scope="session")
def chest(tmp_path_factory: pytest.TempPathFactory) -> Chest:
    """Drawn once."""
    return make_chest(tmp_path_factory.mktemp("chest"))


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("setup", Setup)
def test_whoever_is_killed_nothing_is_lost_doubled_or_stuck(setup: Setup, chest: Chest) -> None:
    report = campaign(setup, KILLS, SEED, chest, click.echo)
    click.echo("\n".join(report.lines()))
    assert report.wrongs == []
    assert report.readings > 0


@pytest.mark.parametrize("setup", Setup)
def test_a_campaign_hits_every_victim_at_every_stage_and_the_same_ones_again_with_its_seed(setup: Setup) -> None:
    every = len(victims_of(setup)) * len(Stage)
    plan = list(islice(rounds(setup, random.Random(SEED)), 2 * every))
    assert set(Counter(plan).values()) == {2}
    assert len(set(plan)) == every
    assert plan == list(islice(rounds(setup, random.Random(SEED)), 2 * every))
    assert {stage for _, stage in plan[:KILLS]} == set(Stage)
    assert {victim for victim, _ in plan[:KILLS]} == set(victims_of(setup))
