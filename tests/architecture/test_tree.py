"""Each module says in one line what it is, and the README's code map says the same."""

from pathlib import Path

import pytest

from tests.architecture import code_map, conformance

ROOT = Path(__file__).parents[2]
FILES = [path for package in ("node", "workers") for path in (ROOT / package).rglob("*.py") if path.stat().st_size]
MODULES = sorted(path.relative_to(ROOT) for path in FILES)
FORBIDDEN = {"utils", "common", "helpers", "base", "core", "misc", "manager"}
LONGEST_FILE = 300


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_says_in_one_line_what_it_is(path: Path) -> None:
    line = code_map.first_line(ROOT / path)
    assert line.endswith(".") or line == "`python -m node` is `nodus`."
    assert len(line) <= 120


def test_the_code_map_says_of_every_module_what_it_says_of_itself() -> None:
    assert code_map.in_readme() == code_map.code_map(), "python -m tests.architecture.code_map writes it anew"


def test_the_conformance_statement_lists_the_contexts_that_the_code_has() -> None:
    assert conformance.stated() == conformance.made(), "python -m tests.architecture.conformance writes them anew"


def test_nothing_is_called_after_what_it_is_not() -> None:
    named = [path for path in MODULES if {*path.parts[:-1], path.stem} & FORBIDDEN]
    assert named == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_file_outgrows_a_page_of_three_hundred_lines(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= LONGEST_FILE
