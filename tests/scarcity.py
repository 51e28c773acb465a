"""Less than there is: memory."""

import resource
from collections.abc import Iterator
from contextlib import contextmanager

MORE_THAN_THERE_IS = 1 << 44
"""Bytes."""


@contextmanager
def limited_memory() -> Iterator[None]:
    """No more address space for this process than MORE_THAN_THERE_IS."""
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (MORE_THAN_THERE_IS, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, limits)
