"""What tests need of others: programs, services, libraries; missing, it skips, or fails under NODUS_REQUIRE_PEERS=1."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path
from typing import NoReturn

import pytest


def require(program: str, package: str) -> str:
    """Return the path of a program on PATH or beside the running Python; else skip, naming its package."""
    beside = Path(sys.executable).parent / program
    found = shutil.which(program) or (str(beside) if beside.exists() else None)
    if found:
        return found
    return missing(f"{program} is missing: install {package}")


def require_library(module: str, extra: str) -> None:
    """Skip where a library of an optional extra is not installed, naming the extra."""
    if importlib.util.find_spec(module) is None:
        missing(f"{module} is missing: install nodus[{extra}]")


def missing(what: str) -> NoReturn:
    """Skip, and say what is not here; fail under NODUS_REQUIRE_PEERS=1."""
    if os.environ.get("NODUS_REQUIRE_PEERS") == "1":
        pytest.fail(what)
    pytest.skip(what)
