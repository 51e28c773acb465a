"""What a new file of an instance is beside those of it that are here."""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from node.domain.study import VersionKind
from node.headers.versions import Decoded, compare
from node.spool import Spool

log = logging.getLogger(__name__)

Pair = tuple[str, str]
"""Paths of the version of an instance that counts, and of a new file of it."""
Comparing = Callable[[Path, Path], VersionKind]


def kind_of(spool: Spool, pair: Pair, others: Sequence[str], comparing: Comparing) -> VersionKind:
    """What a new file is beside the one that counts; the same as any other that is here, it is a duplicate too."""
    kind = comparing(spool.absolute(pair[0]), spool.absolute(pair[1]))
    same = kind is VersionKind.DUPLICATE or any(
        comparing(spool.absolute(other), spool.absolute(pair[1])) is VersionKind.DUPLICATE for other in others
    )
    return VersionKind.DUPLICATE if same else kind


def compared_files(first: Path, second: Path, *, decoded: Decoded, last_try: bool) -> VersionKind:
    """As `compare`; on the last try what cannot be read is a CONFLICT: an operator sees it, and the others go on."""
    try:
        return compare(first, second, decoded)
    except (OSError, MemoryError) as error:
        if not last_try:
            raise
        log.error("versions of an instance cannot be compared", extra={"error": type(error).__name__})
        return VersionKind.CONFLICT
