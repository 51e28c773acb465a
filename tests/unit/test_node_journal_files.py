"""journal.py: what is written is read, in order and once, whatever the disk and the power do."""

import errno
import json
import os
import stat
from pathlib import Path

import pytest

from node import journal as journal_module
from node.domain.announcement import StepState, Teller
from node.domain.reception import (
    AssociationClosed,
    AssociationRefused,
    CountRefused,
    CountTold,
    Ending,
    InstanceRefused,
    PromiseAsked,
    QueryAnswered,
)
from node.journal import Journaled, JournalReader, JournalWriter, event_of, line_of
from tests.studies import AT

EVENTS: list[Journaled] = [
    AssociationClosed("a-1", "CT1", "NODUS", "10.0.0.5", Ending.RELEASED, 12, 3, AT),
    AssociationRefused('EVIL\\^"é', "NODUS", "10.0.0.9", "not known", True, AT, count=7),
    InstanceRefused("a-1", "CT1", "10.0.0.5", "1.2.3", 0xA900, "It does not match.", AT),
    QueryAnswered("WS", "10.0.0.6", "STUDY", 4, 0, AT),
    CountTold("CT1", "10.0.0.5", Teller.MPPS, "1.2.4", "1.2", StepState.COMPLETED, (("1.2.5", 64),), AT),
    CountRefused("CT1", "10.0.0.5", "MPPS", "1.2.4", 0x0112, AT),
    PromiseAsked("CT1", "10.0.0.5", "2.25.1", (("1.2.840.10008.5.1.4.1.1.2", "1.2.3"),), AT),
]


def closed(number: int) -> AssociationClosed:
    return AssociationClosed(f"a-{number}", "CT1", "NODUS", "10.0.0.5", Ending.RELEASED, 1, 0, AT)


def everything(folder: Path) -> list[Journaled]:
    reader = JournalReader(folder)
    return [event for name in reader.names() for event in reader.read(name, 0, 10_000).events]


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: type(event).__name__)
def test_an_event_comes_back_as_it_was_from_one_line(event: Journaled) -> None:
    line = line_of(event)
    assert line.count(b"\n") == 1
    assert event_of(line) == event


NO_EVENTS = [b"", b"\0\0\0", b"[]", b"1", b"{}", b'{"event": "Other"}', b'{"event": []}', line_of(EVENTS[0])[:-20]]
BAD_VALUES = [
    line_of(EVENTS[0]).replace(b"12", b'"a dozen"'),
    line_of(EVENTS[0]).replace(b'"CT1"', b"null"),
    line_of(EVENTS[0]).replace(b'"released"', b'"gone"'),
    line_of(EVENTS[0]).replace(b"+00:00", b""),
    line_of(EVENTS[1]).replace(b'"count": 7', b'"count": {}'),
]


@pytest.mark.parametrize("line", NO_EVENTS + BAD_VALUES)
def test_what_is_no_event_is_said_to_be_none(line: bytes) -> None:
    with pytest.raises(ValueError):
        event_of(line)


def test_the_names_of_a_line_say_what_the_journal_holds_and_none_is_of_a_patient() -> None:
    names = {name for event in EVENTS for name in json.loads(line_of(event))}
    assert names == {
        "event", "association_id", "calling_ae_title", "called_ae_title", "address", "ending", "stored", "refused",
        "at", "reason", "unknown_caller", "count", "sop_instance_uid", "status", "level", "answers",
        "secured", "wish", "user", "alarming", "teller", "uid", "study_instance_uid", "state", "series",
        "transaction_uid", "wanted",
    }  # fmt: skip


def test_several_writers_write_files_of_their_own_that_nobody_else_may_read(tmp_path: Path) -> None:
    for _ in range(2):
        JournalWriter(tmp_path).write(closed(1))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_a_file_is_read_in_parts_and_finished_only_when_its_writer_has_gone(tmp_path: Path) -> None:
    writer, reader = JournalWriter(tmp_path), JournalReader(tmp_path)
    for number in range(5):
        writer.write(closed(number))
    (name,) = reader.names()
    first = reader.read(name, 0, 3)
    second = reader.read(name, first.position, 3)
    assert first.events + second.events == [closed(number) for number in range(5)]
    assert (first.finished, second.finished, reader.is_finished(name, second.position)) == (False, False, False)
    writer.close()
    assert not reader.read(name, 0, 3).finished
    assert reader.read(name, first.position, 3).finished
    assert reader.is_finished(name, second.position)


def test_a_file_that_has_grown_long_is_followed_by_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_module, "FILE_BYTES", 1000)
    writer, reader = JournalWriter(tmp_path), JournalReader(tmp_path)
    for number in range(50):
        writer.write(closed(number))
    assert len(reader.names()) > 5
    assert everything(tmp_path) == [closed(number) for number in range(50)]
    assert [reader.read(name, 0, 1000).finished for name in reader.names()][-2:] == [True, False]


def test_a_full_disk_leaves_no_half_line_and_says_in_the_log_what_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    writer, write = JournalWriter(tmp_path), os.write
    writer.write(closed(1))

    def full(file: int, content: bytes) -> int:
        if content.startswith(b'{"event"'):
            write(file, content[:10])
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content)

    with monkeypatch.context() as disk:
        disk.setattr(os, "write", full)
        writer.write(EVENTS[1])
    writer.write(closed(2))
    assert everything(tmp_path) == [closed(1), closed(2)]
    (lost,) = [each for each in caplog.records if "could not be written" in each.message]
    assert lost.__dict__["event"] == "AssociationRefused"
    assert lost.__dict__["address"] == "10.0.0.9"


def test_a_journal_that_nobody_reads_stops_growing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(journal_module, "FILE_BYTES", 1000)
    monkeypatch.setattr(journal_module, "MOST_BYTES", 5000)
    writer = JournalWriter(tmp_path)
    for number in range(100):
        writer.write(closed(number))
    assert 5000 < sum(path.stat().st_size for path in tmp_path.iterdir()) < 8000
    kept = everything(tmp_path)
    assert kept == [closed(number) for number in range(len(kept))]
    assert len(kept) + sum("could not be written" in each.message for each in caplog.records) == 100
    reader = JournalReader(tmp_path)
    for name in reader.names()[:-1]:
        reader.remove(name)
    writer.write(closed(100))
    assert everything(tmp_path)[-1] == closed(100)


def test_a_folder_that_has_gone_costs_events_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    JournalWriter(tmp_path / "gone").write(closed(1))
    assert "could not be written" in caplog.text


def test_syncing_waits_for_something_to_be_written_and_does_it_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, synced = JournalWriter(tmp_path), list[int]()
    writer.write(closed(1))
    monkeypatch.setattr(os, "fsync", synced.append)
    for _ in range(3):
        writer.sync()
    assert len(synced) == 1


def test_a_file_that_goes_while_another_is_begun_costs_no_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The node removes files that it has read, and other processes rename those that they begin."""
    (tmp_path / "20261121T000000-1-1.jsonl").write_bytes(line_of(closed(0)))
    found = list(tmp_path.iterdir())
    monkeypatch.setattr(Path, "iterdir", lambda _: iter([*found, tmp_path / "gone.jsonl"]))
    JournalWriter(tmp_path).write(closed(1))
    monkeypatch.undo()
    assert everything(tmp_path) == [closed(0), closed(1)]
    assert caplog.records == []


def test_a_file_that_cannot_be_begun_is_left_neither_open_nor_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer, before = JournalWriter(tmp_path), len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as disk:
        disk.setattr(journal_module, "sync_directory", lambda _: os.fsync(1 << 20))
        writer.write(closed(1))
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert list(tmp_path.iterdir()) == []
    writer.write(closed(2))
    assert everything(tmp_path) == [closed(2)]
