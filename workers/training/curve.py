"""The loss of each epoch as loss.csv, and as loss.png where matplotlib is installed."""

import csv
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path

from node.spool import write_durably

Epoch = Mapping[str, float]
"""`step` and `minutes` at its end, and the mean of each loss in it, by name."""
BESIDE = ("step", "minutes")
CSV, PICTURE = "loss.csv", "loss.png"
INCHES, DOTS_PER_INCH = (6.0, 4.5), 120


def keep(epochs: Sequence[Epoch], name: str, out: Path) -> None:
    """Write both anew, of the network that is trained now: whoever looks meanwhile sees the one before or this one."""
    if epochs:
        write_durably(out / CSV, _table(epochs))
        _draw(epochs, name, out / PICTURE)


def _table(epochs: Sequence[Epoch]) -> bytes:
    text = StringIO()
    rows = csv.DictWriter(text, list(epochs[-1]), lineterminator="\n")
    rows.writeheader()
    rows.writerows(epochs)
    return text.getvalue().encode()


def _draw(epochs: Sequence[Epoch], name: str, path: Path) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:  # the extra `evaluation`
        return
    sheet = Figure(figsize=INCHES, layout="constrained")
    axes = sheet.subplots()
    steps = [each["step"] for each in epochs]
    for loss in epochs[-1].keys() - {*BESIDE}:
        axes.plot(steps, [each[loss] for each in epochs], label=loss, marker=".")
    axes.set(xlabel="step", ylabel="mean loss of an epoch", title=name, yscale="log")
    axes.grid(visible=True, alpha=0.3)
    axes.legend()
    aside = path.with_suffix(".new")
    sheet.savefig(aside, dpi=DOTS_PER_INCH, format="png")
    aside.replace(path)
