"""The README's code map, made from the modules' own words: `python -m tests.architecture.code_map` writes it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
BEGIN, END = "<!-- code map: `python -m tests.architecture.code_map` -->", "<!-- end of code map -->"


def first_line(path: Path) -> str:
    """What a module says it is."""
    return (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n")[0]


def modules(folder: Path) -> list[Path]:
    """The files of a folder that say something, its own before those of its folders."""
    own = sorted(path for path in folder.glob("*.py") if path.stat().st_size)
    below = sorted(path for path in folder.iterdir() if path.is_dir())
    return own + [path for each in below for path in modules(each)]


def lines(package: str) -> list[str]:
    """One line a file; a package's own line is that of its folder."""
    found = []
    for path in modules(ROOT / package):
        is_folder = path.name == "__init__.py"
        shown = (path.parent if is_folder else path).relative_to(ROOT)
        found.append(f"{'  ' * (len(shown.parts) - 2)}- `{shown}{'/' * is_folder}` — {first_line(path)}")
    return found


def code_map() -> str:
    """Both packages, folded."""
    parts = [
        f"<details><summary><code>{package}/</code>: {first_line(ROOT / package / '__init__.py')}</summary>\n\n"
        + "\n".join(lines(package)[1:])
        + "\n\n</details>"
        for package in ("node", "workers")
    ]
    return "\n\n".join([BEGIN, *parts, END])


def in_readme() -> str:
    """The map as the README has it; empty where it has none."""
    found = re.search(f"{re.escape(BEGIN)}.*?{re.escape(END)}", README.read_text(), re.DOTALL)
    return found[0] if found else ""


if __name__ == "__main__":
    README.write_text(README.read_text().replace(in_readme() or "<!-- code map -->", code_map()))
