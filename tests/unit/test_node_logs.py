"""node/logs.py: what a log line tells of an error, and what it keeps to itself."""

import json
import logging
import sys

import pytest

from node.errors import BadInput
from node.logs import PrivateFormatter

NAME = "Nodus^Sentinel"


def logged(error: BaseException) -> str:
    """The stack trace of a log line about an error."""
    try:
        raise error
    except type(error):
        record = logging.LogRecord("node", logging.ERROR, __file__, 1, "it failed", None, sys.exc_info())
    return str(json.loads(PrivateFormatter("{message}", style="{").format(record))["exc_info"])


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    "error",
    [ValueError(NAME), caused(RuntimeError("outer"), ValueError(NAME)), caused(BadInput("Not CT."), KeyError(NAME))],
    ids=["itself", "its cause", "the cause of our own"],
)
def test_the_words_of_others_stay_out_of_the_log(error: BaseException) -> None:
    assert NAME not in logged(error)


def test_class_place_and_our_own_words_are_told() -> None:
    trace = logged(caused(BadInput("The series is cut."), ValueError(NAME)))
    assert trace.startswith("ValueError")
    assert trace.endswith("BadInput: The series is cut.")
    assert "test_node_logs.py" in trace


def test_an_error_during_another_names_both() -> None:
    try:
        raise ValueError(NAME)
    except ValueError:
        trace = logged(KeyError(NAME))
    assert "ValueError" in trace and "KeyError" in trace and NAME not in trace
