"""Every odd file of other projects, three ways: verbatim, as broken copies, and through dcmsend. Nothing crashes or
hangs; each is stored as it came or refused by name; what is stored goes through the whole flow."""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from node.catalog import tables
from tests.flow import Flow
from tests.odd.content import says_the_same
from tests.odd.digested import await_rows, await_verdicts, check_health, lost
from tests.odd.vitals import Vitals, receivers, vitals
from tests.odd.ways import NAMED, Try, dcmsend, offer_all
from tests.servers import HASTY, Nodus, nodus

pytestmark = [
    pytest.mark.realdata,
    pytest.mark.filterwarnings("ignore::UserWarning"),  # pydicom's, about odd files
]
FLAT_MIB = 64.0
"""A sanity limit for what two receivers may grow by while they take some thousand odd files of up to 1.4 MB."""


@dataclass(frozen=True)
class Ordeal:
    """A node after all of it."""

    node: Nodus
    tries: list[Try]
    dcmsend: dict[str, str]
    before: Vitals
    after: Vitals


@pytest.fixture(scope="module")
def ordeal(tmp_path_factory: pytest.TempPathFactory, corpus: Path) -> Iterator[Ordeal]:
    folder = tmp_path_factory.mktemp("odd")
    with nodus(folder / "data", receivers=2, senders=HASTY) as node:
        before = vitals(receivers(node))
        said = dcmsend(node, corpus, folder / "report")  # first: what is there already is not kept twice
        tries = offer_all(node, corpus, broken=2)
        ordeal = Ordeal(node, tries, said, before, vitals(receivers(node)))
        (folder / "odd-input.txt").write_text("\n".join(each.row for each in tries) + "\n")
        yield ordeal


def test_every_file_is_stored_or_refused_by_name(ordeal: Ordeal) -> None:
    assert {each.status for each in ordeal.tries} - {None} <= NAMED
    assert [each.row for each in ordeal.tries if each.status and not each.comment] == []
    whole = [each for each in ordeal.tries if each.odd.way == "verbatim"]
    assert len(whole) >= 360
    assert sum(each.status == 0 for each in whole) > 250


def test_what_was_acknowledged_is_on_disk_byte_for_byte(ordeal: Ordeal) -> None:
    assert lost(ordeal.node, ordeal.tries) == []


def test_everything_acknowledged_goes_through_the_flow_and_every_study_ends_judged(ordeal: Ordeal) -> None:
    await_rows(ordeal.node, ordeal.tries)
    await_verdicts(ordeal.node)
    check_health(ordeal.node)


def test_receivers_live_on_and_their_memory_is_flat(ordeal: Ordeal) -> None:
    assert ordeal.after.pids == ordeal.before.pids
    assert ordeal.after.resident_mib - ordeal.before.resident_mib < FLAT_MIB


def test_dcmsend_is_told_the_same(ordeal: Ordeal) -> None:
    """It reads fewer files, and repairs some, so that what it sends need not be refused where the bytes were."""
    statuses = Counter(said.split()[0] for said in ordeal.dcmsend.values())
    assert statuses.keys() <= {"0x0000", "0xa900", "0xc000", "<not", "<no"}
    assert statuses["0x0000"] > 250


def test_what_dcmsend_sent_says_the_same_as_the_file(ordeal: Ordeal, corpus: Path) -> None:
    sent = sorted(name for name, said in ordeal.dcmsend.items() if said.startswith("0x0000"))
    kept = {row["path"]: row["sop_instance_uid"] for row in Flow(ordeal.node.catalog).rows(tables.instance)}
    ours: dict[str, list[Dataset]] = {}
    for path, uid in kept.items():
        file = dcmread(ordeal.node.data / path)
        if file.file_meta.SourceApplicationEntityTitle == "DCMSEND":
            ours.setdefault(uid, []).append(file)
    assert [name for name in sent if not _is_among(dcmread(corpus / name), ours)] == []


def _is_among(original: Dataset, ours: dict[str, list[Dataset]]) -> bool:
    return any(says_the_same(original, each) for each in ours.get(original.SOPInstanceUID, []))


def test_a_table_tells_what_became_of_each(ordeal: Ordeal) -> None:
    counts = Counter((each.odd.way, each.status) for each in ordeal.tries)
    for (way, status), count in sorted(counts.items(), key=str):
        sys.stdout.write(f"{way:20} {'no context' if status is None else f'0x{status:04X}'} {count:5}\n")
    assert all(each.row.count("\t") == 3 for each in ordeal.tries)
