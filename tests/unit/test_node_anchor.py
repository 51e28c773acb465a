"""audit/anchor.py: the key and the anchors outside the database."""

import errno
import os
import stat
from pathlib import Path

import pytest

from node.audit.anchor import Anchors, load_or_make_key
from node.domain.audit import Anchor
from node.errors import SettingsError


def test_the_key_is_made_once_and_private(tmp_path: Path) -> None:
    key = load_or_make_key(tmp_path / "audit.key")
    assert len(key) == 32
    assert load_or_make_key(tmp_path / "audit.key") == key
    assert load_or_make_key(tmp_path / "other.key") != key
    assert stat.S_IMODE((tmp_path / "audit.key").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    load_or_make_key(tmp_path / "audit.key")
    (tmp_path / "audit.key").chmod(mode)
    with pytest.raises(SettingsError, match="chmod 600"):
        load_or_make_key(tmp_path / "audit.key")


def test_anchors_are_appended_and_read_back_by_another_process(tmp_path: Path) -> None:
    anchors = Anchors(tmp_path / "anchors")
    assert anchors.all() == []
    assert anchors.add(Anchor(1, "a"))
    assert anchors.add(Anchor(5, "b"))
    assert Anchors(tmp_path / "anchors").all() == [Anchor(1, "a"), Anchor(5, "b")]
    assert stat.S_IMODE((tmp_path / "anchors").stat().st_mode) == 0o600


def test_a_head_that_did_not_move_is_not_written_again(tmp_path: Path) -> None:
    anchors = Anchors(tmp_path / "anchors")
    anchors.add(Anchor(1, "a"))
    assert not anchors.add(Anchor(1, "a"))
    assert not Anchors(tmp_path / "anchors").add(Anchor(1, "a"))
    assert anchors.all() == [Anchor(1, "a")]


def test_a_line_that_a_power_cut_left_half_written_is_skipped(tmp_path: Path) -> None:
    anchors = Anchors(tmp_path / "anchors")
    anchors.add(Anchor(1, "a"))
    with (tmp_path / "anchors").open("a") as file:
        file.write('{"at": "2025-03-04T05:06:07+00:00", "se')
    later = Anchors(tmp_path / "anchors")
    assert later.all() == [Anchor(1, "a")]
    later.add(Anchor(2, "b"))
    assert later.all() == [Anchor(1, "a"), Anchor(2, "b")]


def test_a_full_disk_costs_one_anchor_and_not_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    anchors = Anchors(tmp_path / "anchors")
    anchors.add(Anchor(1, "a"))

    def no_room(_: int) -> None:
        raise OSError(errno.ENOSPC, "")

    with monkeypatch.context() as patched, pytest.raises(OSError, match="28"):
        patched.setattr(os, "fsync", no_room)
        anchors.add(Anchor(2, "b"))
    os.truncate(tmp_path / "anchors", (tmp_path / "anchors").stat().st_size - 10)  # half of it had no room
    anchors.add(Anchor(3, "c"))
    assert Anchors(tmp_path / "anchors").all() == [Anchor(1, "a"), Anchor(3, "c")]


def test_the_file_as_it_was_at_a_row_has_nothing_later(tmp_path: Path) -> None:
    anchors = Anchors(tmp_path / "anchors")
    assert anchors.up_to(9) == b""
    for seq in (1, 5, 9):
        anchors.add(Anchor(seq, "x"))
    (tmp_path / "earlier").write_bytes(anchors.up_to(5))
    assert Anchors(tmp_path / "earlier").all() == [Anchor(1, "x"), Anchor(5, "x")]
