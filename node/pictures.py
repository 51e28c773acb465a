"""Pictures of findings, beside the results of their job: for people here, never sent, and gone with the results.

No row names them: results/<job>/<claim>/strip-N1.png lies where the encoded results lie that rows name.
"""

from collections.abc import Iterable
from pathlib import Path

PATTERN = "strip-*.png"


def strip_name(label: str) -> str:
    """File name of the picture strip of a finding: N1, N2, ..."""
    return f"strip-{label}.png"


def strips_in(folder: Path) -> list[Path]:
    """The picture strips of a folder."""
    return sorted(folder.glob(PATTERN))


def strips_beside(data: Path, results: Iterable[str]) -> list[str]:
    """The picture strips beside some results; all paths relative to the data directory."""
    folders = dict.fromkeys((data / path).parent for path in results)
    return [str(strip.relative_to(data)) for folder in folders for strip in strips_in(folder)]
