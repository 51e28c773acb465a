"""How much a reading does at once, and on which device: less of it needs less memory, and finds the same."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch

from node.domain.job import MOST_ECONOMICAL
from node.errors import OutOfMemory

SIGNS_OF_MEMORY = ("allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED", "bad_alloc")
"""In the texts of RuntimeErrors: torch's allocators, cuDNN, cuBLAS, C++."""

Result = TypeVar("Result")

USUAL_TILE_DEPTHS = (1024, 160, 96)


@dataclass(frozen=True)
class Budget:
    """What one pass of a network may take."""

    device: str
    """Of torch: "cpu", "cuda"."""
    tile_depths: tuple[int, ...]
    """Slices of the resampled lungs in one pass of the detector; the next is tried when memory runs out."""
    batch: int
    """Most patches in one pass of the classifier and the segmenter."""


def budget(economy: int = 0) -> Budget:
    """What an attempt may take. `economy`: 0 as usual, 1 less at a time, 2 the least and on the CPU."""
    usual = "cuda" if torch.cuda.is_available() else "cpu"
    steps = (Budget(usual, USUAL_TILE_DEPTHS, 16), Budget(usual, (96, 64), 4), Budget("cpu", (32,), 1))
    return steps[min(economy, MOST_ECONOMICAL)]


def is_memory(error: Exception) -> bool:
    """Whether an error says that there was not enough memory."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(s in str(error) for s in SIGNS_OF_MEMORY)


@contextmanager
def naming_memory() -> Iterator[None]:
    """Raises OutOfMemory in place of the many errors that mean it."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_memory(error):
            raise
        raise OutOfMemory("There is not enough memory to read the images.") from error


def largest_that_fits(tile_depths: Sequence[int], run: Callable[[int], Result]) -> Result:
    """What `run` gives for a depth, the next one where memory does not allow the first. Raises OutOfMemory."""
    for depth in tile_depths:
        try:
            return run(depth)
        except (MemoryError, RuntimeError) as error:
            if not is_memory(error):
                raise
    raise OutOfMemory("There is not enough memory to read the lungs even in small parts.")
