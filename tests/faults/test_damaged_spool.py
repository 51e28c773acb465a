"""Files of the spool that a broken disk damaged: told once, left where they are, in nobody's way, and mended by sending
the same instance again."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from node.catalog import tables
from node.catalog.session import Catalog
from node.domain.alert import AlertKind
from node.flow import register
from node.flow.alert import Watch
from node.flow.inbox import Inbox
from node.flow.loop import Loop
from node.spool import Spool
from tests.flow import Flow
from tests.received import data_set_of
from tests.servers import eventually
from tests.studies import Series, keep, keep_all

SERIES = Series("damaged", count=5)
Damage = Callable[[Path], None]


def empty(file: Path) -> None:
    os.truncate(file, 0)


def cut_in_its_meta(file: Path) -> None:
    os.truncate(file, 150)


def cut_in_its_data_set(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 7)


def zeros(file: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def unreadable(file: Path) -> None:
    """What cannot be opened, though nobody may forbid it root: a link that leads nowhere."""
    file.unlink()
    file.symlink_to(file.name)


EVERY_DAMAGE: list[Damage] = [empty, cut_in_its_meta, cut_in_its_data_set, zeros, unreadable]


def alerts(catalog: Catalog, inbox: Inbox) -> list[str]:
    Watch(catalog, lambda: (100.0, 10.0), lambda: [], damaged=lambda: len(inbox.damaged)).step()
    return [row["kind"] for row in Flow(catalog).rows(tables.alert) if row["cleared_at"] is None]


@pytest.mark.parametrize("damage", EVERY_DAMAGE, ids=lambda damage: damage.__name__)
def test_a_damaged_file_is_told_once_and_holds_up_nobody(
    catalog: Catalog, spool: Spool, data: Path, caplog: pytest.LogCaptureFixture, damage: Damage
) -> None:
    """The others are registered, and it is itself once it came again: acknowledged then means readable on disk."""
    stored = keep_all(spool, SERIES.payloads())
    damage(data / stored[2].path)
    flow, inbox = Flow(catalog, spool), Inbox()
    for _ in range(2):
        register.step(catalog, spool, inbox)
        assert inbox.incomplete_since is None
        inbox.must_rescan()
    assert len(flow.rows(tables.instance)) == 4
    assert caplog.text.count("a file of the spool cannot be read") == 1
    assert os.path.lexists(data / stored[2].path)
    assert alerts(catalog, inbox) == [AlertKind.SPOOL_DAMAGED]
    inbox.put(keep(spool, SERIES.payloads()[2]))
    register.step(catalog, spool, inbox)
    assert len(flow.rows(tables.instance)) == 5
    assert data_set_of(data / stored[2].path) == SERIES.payloads()[2].data_set
    assert alerts(catalog, inbox) == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"association_id"', b'\xff"association_id"'),
        (b"association_id", b"association_no"),
        (b"2025-03-04T", b"2025-93-04T"),
    ],
    ids=["no JSON", "other names", "no time"],
)
def test_a_whole_image_whose_origin_is_damaged_is_registered_as_of_unknown_origin(
    catalog: Catalog, spool: Spool, data: Path, old: bytes, new: bytes
) -> None:
    stored = keep_all(spool, SERIES.payloads())
    file = data / stored[2].path
    raw = file.read_bytes()
    assert raw.count(old) == 1
    file.write_bytes(raw.replace(old, new))
    register.step(catalog, spool, Inbox())
    rows = Flow(catalog).rows(tables.instance)
    assert sorted(row["calling_ae_title"] for row in rows) == ["", *["CT1"] * 4]


def test_another_version_is_taken_beside_a_damaged_one(spool: Spool, data: Path) -> None:
    """Nobody can say any more of which study that was."""
    first = keep(spool, SERIES.payloads([0])[0])
    zeros(data / first.path)
    second = keep(spool, SERIES.having(RescaleIntercept="0").payloads([0])[0])
    assert {first.path, second.path} == set(spool.files())


def test_a_file_that_lost_its_bytes_is_whole_again_after_the_same_instance_came(spool: Spool, data: Path) -> None:
    """Bits that turned on the disk: the name promises a digest that the file no longer has."""
    (payload,) = SERIES.payloads([0])
    path = data / keep(spool, payload).path
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    assert data / keep(spool, payload).path == path
    assert data_set_of(path) == payload.data_set


def test_a_disk_that_takes_long_for_each_of_many_files_does_not_hang(
    catalog: Catalog, spool: Spool, data: Path
) -> None:
    hung, inbox = list[bool](), Inbox()
    keep_all(spool, SERIES.payloads(range(3)))

    class Slow(Spool):
        def absolute(self, path: str) -> Path:
            hung.append(loop.hangs)
            loop._thread.got_on_at = -1e9  # and this takes for ever
            return super().absolute(path)

    slow = Slow(data, minimum_free_bytes=0, minimum_free_fraction=0.0)
    loop = Loop("register", lambda: register.step(catalog, slow, inbox), 3600)
    loop.start()
    eventually(lambda: inbox.incomplete_since is None)
    loop.stop(10)
    assert hung == [False] * 6  # when it was written, and what is in it


def test_a_file_that_retention_removes_between_the_listing_and_the_reading_is_not_damaged(
    catalog: Catalog, spool: Spool, data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """But one whose folder is gone with it is: its volume may be."""
    stored, inbox = keep_all(spool, SERIES.payloads(range(3))), Inbox()

    class Purged(Spool):
        def written_at(self, path: str) -> int:
            if path == stored[0].path:
                self.absolute(path).unlink(missing_ok=True)
            return super().written_at(path)

    register.step(catalog, Purged(data, minimum_free_bytes=0, minimum_free_fraction=0.0), inbox)
    assert (len(Flow(catalog).rows(tables.instance)), inbox.damaged) == (2, set())
    assert "cannot be read" not in caplog.text

    class Unmounted(Spool):
        def absolute(self, path: str) -> Path:
            return data / "gone" / path

    lost = keep(spool, SERIES.payloads([4])[0])
    inbox.must_rescan()
    register.step(catalog, Unmounted(data, minimum_free_bytes=0, minimum_free_fraction=0.0), inbox)
    assert inbox.damaged == {lost.path}
