"""A deflated data set as a file that inflates as it is read: a few kilobytes may say that they are gigabytes."""

import mmap
import os
import zlib
from io import BufferedReader, BytesIO, RawIOBase
from typing import BinaryIO

from node.errors import BadInput

CHUNK_BYTES = 1 << 16
LARGEST_BYTES = 1 << 31
"""Inflated; what is larger needs more memory than a worker may take."""
PLAUSIBLE_BYTES, LARGEST_RATIO = 64 << 20, 100
"""Above so many bytes no image inflates to a hundred times its size (CT: 2 to 4 times); deflate can say 1032 times."""
MOST_RETURNS = 16
"""Each return inflates anew from the start; a walk needs one for each functional group."""


def inflated(file: BinaryIO) -> BufferedReader:
    """From the file's position to its end, inflated. Raises BadInput when that does not inflate, or is absurd."""
    start = file.tell()
    whole = file.getbuffer() if isinstance(file, BytesIO) else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return BufferedReader(_Inflating(memoryview(whole)[start:]), CHUNK_BYTES)


class _Inflating(RawIOBase):
    """Holds a chunk at a time; to go back it begins again."""

    def __init__(self, packed: memoryview) -> None:
        self._packed = packed
        self._returns = 0
        self._begin()
        limit = min(LARGEST_BYTES, max(PLAUSIBLE_BYTES, LARGEST_RATIO * len(packed)))
        while self._inflate(CHUNK_BYTES):
            if self._here > limit:
                raise BadInput("The deflated data set inflates to an absurd size.")
        self._size, self._wanted = self._here, 0
        self._begin()

    def _begin(self) -> None:
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._fed = self._here = 0

    def _inflate(self, most: int) -> bytes:
        """The next bytes, at most so many; none at the end."""
        while not self._inflater.eof:
            raw = self._inflater.unconsumed_tail
            if not raw:
                raw = bytes(self._packed[self._fed : self._fed + CHUNK_BYTES])
                self._fed += len(raw)
            try:
                plain = self._inflater.decompress(raw, most)
            except zlib.error as error:
                raise BadInput("The deflated data set does not inflate.") from error
            self._here += len(plain)
            if plain:
                return plain
            if not raw:
                raise BadInput("The deflated data set is cut.")
        return b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, into: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer as far as it comes easily."""
        if self._wanted < self._here:
            self._returns += 1
            if self._returns > MOST_RETURNS:
                raise BadInput("The deflated data set does not parse from its start to its end.")
            self._begin()
        while self._here < self._wanted and self._inflate(min(CHUNK_BYTES, self._wanted - self._here)):
            continue
        plain = self._inflate(len(into))
        into[: len(plain)] = plain
        self._wanted += len(plain)
        return len(plain)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Read from there next; nothing is inflated before."""
        self._wanted = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._wanted, os.SEEK_END: self._size}[whence]
        return self._wanted
