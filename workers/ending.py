"""Told to end in the middle of a reading: nothing that came of it is believed."""

import os

from billiard.common import terminate_handler_fired


def end_if_told() -> None:
    """Raise SystemExit where a signal has told this child of Celery's pool to end, whatever has become of that.

    The signal raises SystemExit wherever Python stands, and code in C may make an error of its own of it: NumPy says
    ValueError where it asked a sequence for its length. The images would pass for broken ones.
    """
    if terminate_handler_fired():
        raise SystemExit(os.EX_TEMPFAIL)
