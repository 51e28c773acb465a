"""In whatever order and grouping the slices of a series come, cut off and sent again: one reading of all of them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import update

from node.catalog import tables
from node.catalog.session import Catalog
from node.domain.peers import Destination
from node.domain.reception import Ending
from node.flow import release
from tests.flow import Flow
from tests.studies import Series, after

CHEST = Series(count=46)
PAUSES_S = (0.1, 0.5, 2, 4, 10, 16, 70)


@dataclass(frozen=True)
class Association:
    """Some slices at one moment."""

    numbers: tuple[int, ...]
    at_s: float
    ending: Ending


def way(chance: random.Random) -> Iterator[Association]:
    """Every slice at least once: shuffled or in order, in groups; some groups are cut and come again, some twice."""
    numbers = list(range(CHEST.count))
    if chance.random() < 0.5:
        chance.shuffle(numbers)
    at_s = 0.0
    while numbers:
        at_s += chance.choice(PAUSES_S)
        group = tuple(numbers[: chance.choice((1, 5, 20, 46))])
        cut = chance.randrange(len(group)) if chance.random() < 0.3 else len(group)
        sent, numbers = group[:cut], numbers[cut:]
        known = tuple(chance.sample(range(CHEST.count), chance.randrange(4))) if chance.random() < 0.3 else ()
        again = tuple(number for number in known if number not in numbers)
        yield Association(sent + again, at_s, Ending.RELEASED if cut == len(group) else Ending.ABORTED)
    if chance.random() < 0.5:
        yield Association(tuple(range(CHEST.count)), at_s + chance.choice(PAUSES_S), Ending.RELEASED)


def work(flow: Flow, at_s: float, *, delivering: bool) -> None:
    """A worker does what is queued; what is due is sent, where the PACS is there."""
    for job in flow.rows(tables.job, state="queued"):
        flow.finish(job["id"], after(at_s))
    release.step(flow.catalog, after(at_s))
    if delivering:
        with flow.catalog.writing() as session:
            sent = update(tables.outbox).where(tables.outbox.c.state == "due")
            session.execute(sent.values(state="delivered", attempts=1))


@pytest.mark.parametrize("seed", range(6))
def test_every_way_ends_in_one_reading_of_all_slices(catalog: Catalog, seed: int) -> None:
    chance, flow, at_s = random.Random(seed), Flow(catalog), 0.0
    flow.destination(Destination("PACS", "127.0.0.1", 104))
    headers = CHEST.headers()
    for association in way(chance):
        flow.complete(after(association.at_s))
        if chance.random() < 0.5:
            work(flow, association.at_s, delivering=chance.random() < 0.5)
        flow.receive([headers[number] for number in association.numbers], after(association.at_s), association.ending)
        at_s = association.at_s
    flow.complete(after(at_s + 20))
    work(flow, at_s + 20, delivering=False)
    assert_one_reading(flow)


def assert_one_reading(flow: Flow) -> None:
    (series,), study = flow.rows(tables.series), flow.study(CHEST.study_uid)
    *earlier, last = flow.jobs()
    assert (study["state"], study["revision"]) == ("complete", last["revision"])
    assert (last["kind"], last["state"], last["digest"]) == ("analysis", "done", series["digest"])
    assert {job["state"] for job in earlier} <= {"superseded"}
    assert len({job["digest"] for job in flow.jobs()}) == len(flow.jobs())  # no revision without a change
    rows = flow.outbox()
    assert [(kind, state == "cancelled") for job, kind, state in rows if job == last["id"]] == [
        ("SEG", False),
        ("SR", False),
    ]
    seen = [job for job, _, state in rows if job != last["id"] and state != "cancelled"]
    assert {state for job, _, state in rows if job in seen and job != last["id"]} <= {"delivered"}
    assert last["predecessor_job_id"] == max(seen, default=None)
    assert len(flow.rows(tables.instance)) == CHEST.count
