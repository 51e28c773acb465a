"""Decoders written in Rust panic on broken streams, and what Python then gets is no Exception."""

from collections.abc import Iterator
from contextlib import contextmanager

from node.errors import BadInput


@contextmanager
def panics_as_bad_input() -> Iterator[None]:
    """Turn pyo3_runtime.PanicException, a BaseException that no `except Exception` sees, into BadInput.

    pylibjpeg-rle panics on a run that is longer than its image: uncaught it would end a loop of the node for good.
    """
    try:
        yield
    except (Exception, GeneratorExit, KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise BadInput(f"A decoder broke off ({type(error).__name__}).") from error
