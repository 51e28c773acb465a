"""Each module says in one line what it is, and the README's code map says the same."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILES = [path for package in ("node", "workers") for path in (ROOT / package).rglob("*.py") if path.stat().st_size]
MODULES = sorted(path.relative_to(ROOT) for path in FILES)
FORBIDDEN = {"utils", "common", "helpers", "base", "core", "misc", "manager"}
LONGEST_FILE = 300
OUTGROWN = {"node/dicom/upper_layer.py"}
MAP_LINE = re.compile(r"^\s*(?:[-*] )?`(?P<path>(?:node|workers)/[\w./-]+)` — (?P<line>.*?)\s*$", re.MULTILINE)


def first_line(path: Path) -> str:
    docstring = ast.get_docstring(ast.parse((ROOT / path).read_text()))
    return (docstring or "").split("\n")[0]


def code_map() -> dict[str, str]:
    return {found["path"]: found["line"] for found in MAP_LINE.finditer((ROOT / "README.md").read_text())}


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_every_module_says_in_one_line_what_it_is(path: Path) -> None:
    line = first_line(path)
    assert line.endswith(".") or line == "`python -m node` is `nodus`."
    assert len(line) <= 120


def test_every_module_stands_in_the_code_map_with_its_own_words() -> None:
    described = code_map()
    if not described:
        pytest.skip("README.md has no code map yet")
    own_words = {str(path): first_line(path) for path in MODULES}
    assert {path: described.get(path) for path in own_words} == own_words


def test_the_code_map_names_nothing_that_is_not_there() -> None:
    assert [path for path in code_map() if not (ROOT / path).exists()] == []


def test_nothing_is_called_after_what_it_is_not() -> None:
    named = [path for path in MODULES if {*path.parts[:-1], path.stem} & FORBIDDEN]
    assert named == []


@pytest.mark.parametrize("path", MODULES, ids=str)
def test_no_file_outgrows_a_page_of_three_hundred_lines(path: Path) -> None:
    assert len((ROOT / path).read_text().splitlines()) <= LONGEST_FILE or str(path) in OUTGROWN
