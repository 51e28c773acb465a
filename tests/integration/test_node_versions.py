"""flow/register.py: how two versions of an instance are compared, and what that costs."""

import tracemalloc
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar

import pytest
from pydicom import DataElement, Dataset
from pydicom.tag import Tag
from sqlalchemy import event

from node.catalog import tables
from node.catalog.session import Catalog
from node.flow import register
from node.flow.inbox import Inbox
from node.headers.versions import content_of
from node.spool import Spool
from tests.flow import Flow
from tests.studies import Series, keep_all

CHEST = Series(count=1)
ROUTED, PRINTED = CHEST.having(StationName="ROUTER"), CHEST.having(StationName="PRINTER")


class _Looking(Spool):
    """A spool that remembers whether a transaction was open whenever a file was looked at."""

    open = 0
    seen: ClassVar[list[int]] = []

    def absolute(self, path: str) -> Path:
        self.seen.append(self.open)
        return super().absolute(path)


def test_versions_are_compared_while_no_transaction_is_open(catalog: Catalog, data: Path) -> None:
    spool = _Looking(data, minimum_free_bytes=0, minimum_free_fraction=0.0)
    event.listen(catalog.engine, "begin", lambda _: setattr(spool, "open", spool.open + 1))
    for ending in ("commit", "rollback"):
        event.listen(catalog.engine, ending, lambda _: setattr(spool, "open", spool.open - 1))
    one, other = Series(count=1), Series(count=1).having(PixelData=b"x" * 32)
    kept = keep_all(spool, [*one.payloads(), *other.payloads()])
    spool.seen.clear()
    register.register(catalog, spool, kept[:1])
    register.register(catalog, spool, kept[1:])
    assert spool.seen == [0, 0]
    assert [row["version"] for row in Flow(catalog).rows(tables.instance)] == ["authoritative", "conflict"]


def test_pixels_are_compared_without_a_copy_in_memory() -> None:
    pixels = bytes(range(256)) * (1 << 16)
    one, other = (Dataset({Tag("PixelData"): DataElement("PixelData", "OB", pixels)}) for _ in range(2))
    tracemalloc.start()
    try:
        assert content_of(one) == content_of(other)
        assert tracemalloc.get_traced_memory()[1] < len(pixels) / 4
    finally:
        tracemalloc.stop()
    other.PixelData = pixels[:-1] + b"x"
    assert content_of(one) != content_of(other)


def test_a_file_that_cannot_be_read_now_is_compared_later_and_holds_up_nobody_for_good(
    catalog: Catalog, spool: Spool
) -> None:
    inbox, flow = Inbox(), Flow(catalog)
    first, again, other = keep_all(spool, [*CHEST.payloads(), *ROUTED.payloads(), *Series("2", count=1).payloads()])
    register.register(catalog, spool, [first])
    inbox.rescanned(datetime.now(UTC))
    file, aside = spool.absolute(first.path), spool.absolute(first.path).with_suffix(".aside")
    for readable, expected in ((True, "duplicate"), (False, "conflict")):
        file.rename(aside)
        file.symlink_to(file)  # to open it is an error of the file system
        for arrival in (again, other) if readable else keep_all(spool, PRINTED.payloads()):
            inbox.put(arrival)
        for _ in range(1 if readable else register.TRIES):
            with pytest.raises(OSError, match="symbolic links"):
                register.step(catalog, spool, inbox)
        if readable:
            aside.replace(file)
        register.step(catalog, spool, inbox)
        assert flow.rows(tables.instance)[-1 if not readable else 1]["version"] == expected
        assert (inbox.peek(), inbox.unread_turns) == ([], 0)
