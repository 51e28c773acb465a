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
    return found or absent(f"{program} is missing: install {package}")


def require_library(module: str, extra: str) -> None:
    """Skip where a library of an optional extra is not installed, naming the extra."""
    if importlib.util.find_spec(module) is None:
        absent(f"{module} is missing: install nodus[{extra}]")


def absent(message: str) -> NoReturn:
    """Skip, or fail under NODUS_REQUIRE_PEERS=1."""
    if os.environ.get("NODUS_REQUIRE_PEERS") == "1":
        pytest.fail(message)
    pytest.skip(message)
