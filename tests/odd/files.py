"""Odd files of other projects as they go over the wire, and broken copies of them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tests.sender import Payload, payload_of_file

HEAD_BYTES = 1500
"""Of a data set: where its identity and geometry usually stand."""


@dataclass(frozen=True)
class Odd:
    """One file of the corpus, or what was made of it."""

    file: str
    """Relative to the corpus."""
    way: str
    """`verbatim`, or what was done to it."""
    payload: Payload


def odd_files(corpus: Path) -> list[Odd]:
    """Every file, whatever it is, its bytes untouched; what names no class or instance is announced as a CT image."""
    files = sorted(path for path in corpus.rglob("*") if path.is_file())
    return [
        Odd(str(path.relative_to(corpus)), "verbatim", _announced(payload_of_file(path), number))
        for number, path in enumerate(files)
    ]


def _announced(payload: Payload, number: int) -> Payload:
    if payload.sop_class_uid and payload.sop_instance_uid:
        return payload
    return Payload(CTImageStorage, f"1.2.3.{number}", ExplicitVRLittleEndian, payload.data_set)


def mutants(odd: Odd, count: int) -> Iterator[Odd]:
    """The same bytes, cut and flipped; always the same ones for a file, and of few every way over several files."""
    chance = random.Random(odd.file)
    ways = (_cut, _flip_bits_of_head, _flip_bytes_of_head, _flip_bits, _lose_bytes, _double_bytes)
    first = chance.randrange(len(ways))
    for number in range(first, first + count):
        way = ways[number % len(ways)]
        raw = way(bytearray(odd.payload.data_set), chance)
        yield Odd(odd.file, way.__name__.strip("_").replace("_", " "), odd.payload._replace(data_set=bytes(raw)))


def _cut(raw: bytearray, chance: random.Random) -> bytearray:
    return raw[: chance.randrange(len(raw) + 1)]


def _flip_bits_of_head(raw: bytearray, chance: random.Random) -> bytearray:
    return _flipped(raw, chance, min(len(raw), HEAD_BYTES), chance.randint(1, 8))


def _flip_bytes_of_head(raw: bytearray, chance: random.Random) -> bytearray:
    for _ in range(chance.randint(1, 4) if raw else 0):
        raw[chance.randrange(min(len(raw), HEAD_BYTES))] = chance.randrange(256)
    return raw


def _flip_bits(raw: bytearray, chance: random.Random) -> bytearray:
    return _flipped(raw, chance, len(raw), chance.randint(1, 32))


def _flipped(raw: bytearray, chance: random.Random, within: int, times: int) -> bytearray:
    for _ in range(times if within else 0):
        raw[chance.randrange(within)] ^= 1 << chance.randrange(8)
    return raw


def _lose_bytes(raw: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(raw) + 1)
    del raw[start : start + chance.randint(1, 64)]
    return raw


def _double_bytes(raw: bytearray, chance: random.Random) -> bytearray:
    start = chance.randrange(len(raw) + 1)
    return raw[:start] + raw[max(0, start - chance.randint(1, 64)) :]
