"""domain/audit.py: the chain shows what was done to it, and says what it cannot see."""

import hashlib
import hmac
import json
from dataclasses import replace
from datetime import timedelta, timezone

import pytest

from node.domain.audit import GENESIS, Anchor, Entry, Event, EventKind, EventOutcome, entry_of, link, verify
from tests.studies import AT

KEY = b"k" * 32


def chain(count: int, key: bytes = KEY) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(1, count + 1):
        event = Event(EventKind.JOB_DONE, job_id=number, detail={"number": number}, at=AT)
        entries.append(entry_of(event, number, entries[-1].hash if entries else GENESIS, key))
    return entries


def head_of(entries: list[Entry]) -> Anchor:
    return Anchor(entries[-1].seq, entries[-1].hash) if entries else Anchor(0, GENESIS)


def problems(entries: list[Entry], head: Anchor | None = None, anchors: tuple[Anchor, ...] = ()) -> list[str]:
    return verify(entries, head or head_of(entries), anchors, KEY)


WHOLE = chain(10)
ANCHOR = Anchor(8, WHOLE[7].hash)


def test_a_whole_chain_has_no_problem() -> None:
    assert problems(WHOLE, anchors=(Anchor(0, GENESIS), ANCHOR, head_of(WHOLE))) == []
    assert problems([]) == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("at", "2025-03-04T05:06:08+00:00"),
        ("kind", "job dead"),
        ("outcome", 4),
        ("actor", "somebody"),
        ("address", "10.0.0.1"),
        ("study_instance_uid", "1.2"),
        ("job_id", None),
        ("detail", "{}"),
        ("hash", "0" * 64),
    ],
)
def test_a_row_altered_in_any_field_is_found(field: str, value: object) -> None:
    altered = [*WHOLE[:4], replace(WHOLE[4], **{field: value}), *WHOLE[5:]]
    assert problems(altered)[0] == "Row 5 was altered, or the row before it is not the one it was written after."


def test_a_deleted_row_is_found() -> None:
    found = problems([*WHOLE[:4], *WHOLE[5:]], head_of(WHOLE))
    assert "Row 5 is missing: row 6 follows row 4." in found


def test_a_deleted_row_is_found_even_when_the_rest_is_renumbered() -> None:
    renumbered = [*WHOLE[:4], *(replace(entry, seq=entry.seq - 1) for entry in WHOLE[5:])]
    assert problems(renumbered, head_of(renumbered))


def test_an_inserted_row_is_found() -> None:
    forged = replace(WHOLE[4], seq=5, job_id=99)
    later = [replace(entry, seq=entry.seq + 1) for entry in WHOLE[4:]]
    assert any("Row 5 was altered" in text for text in problems([*WHOLE[:4], forged, *later]))


def test_two_rows_in_each_others_place_are_found() -> None:
    swapped = [*WHOLE[:3], replace(WHOLE[4], seq=4), replace(WHOLE[3], seq=5), *WHOLE[5:]]
    assert problems(swapped)


def test_a_cut_tail_is_found_by_the_head() -> None:
    assert problems(WHOLE[:7], head_of(WHOLE)) == ["The head says 10 rows, the table ends at row 7."]


def test_a_tail_cut_together_with_the_head_is_found_by_the_anchor() -> None:
    assert problems(WHOLE[:7], anchors=(ANCHOR,)) == ["The anchor of row 8 does not match the table."]


def test_a_tail_cut_after_the_last_anchor_with_the_head_is_what_nobody_can_see() -> None:
    assert problems(WHOLE[:9], anchors=(ANCHOR,)) == []


def test_an_emptied_table_is_found() -> None:
    assert problems([], Anchor(0, GENESIS), (ANCHOR,)) == ["The anchor of row 8 does not match the table."]
    assert problems([], head_of(WHOLE)) == ["The head says 10 rows, the table ends at row 0."]


def test_a_chain_recomputed_with_another_key_is_found() -> None:
    forged = chain(10, b"x" * 32)
    assert len(problems(forged)) == 10
    assert "The anchor of row 8 does not match the table." in problems(forged, anchors=(ANCHOR,))


def test_a_chain_recomputed_with_the_stolen_key_is_found_by_the_anchor() -> None:
    forged = [entry_of(Event(EventKind.JOB_DEAD, at=AT), 1, GENESIS, KEY)]
    for number in range(2, 11):
        forged.append(entry_of(Event(EventKind.JOB_DEAD, at=AT), number, forged[-1].hash, KEY))
    assert problems(forged) == []
    assert problems(forged, anchors=(ANCHOR,)) == ["The anchor of row 8 does not match the table."]


def test_the_hash_is_the_documented_hmac() -> None:
    entry = WHOLE[1]
    fields = [entry.seq, entry.at, entry.kind, entry.outcome, entry.actor, entry.address, entry.study_instance_uid,
              entry.job_id, entry.detail]  # fmt: skip
    expected = hmac.new(KEY, json.dumps([WHOLE[0].hash, *fields]).encode(), hashlib.sha256).hexdigest()
    assert link(entry, WHOLE[0].hash, KEY) == entry.hash == expected


def test_an_entry_is_written_in_utc_with_sorted_details() -> None:
    at = AT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    event = Event(EventKind.JOB_FAILED, EventOutcome.MINOR_FAILURE, "CT1", detail={"b": 1, "a": "ä"}, at=at)
    entry = entry_of(event, 1, GENESIS, KEY)
    assert entry.at == "2025-03-04T05:06:07+00:00"
    assert entry.detail == '{"a": "ä", "b": 1}'
    assert (entry.kind, entry.outcome, entry.actor) == ("job failed", 4, "CT1")
