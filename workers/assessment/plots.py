"""The curves as pictures: FROC with its interval, and reliability."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure as Sheet

from workers.assessment.detection import Band
from workers.evaluation.calibration import Bin
from workers.evaluation.froc import LUNA16_RATES

INCHES, DOTS_PER_INCH = (6.0, 4.5), 120
UP_TO_ONE = (0, 1.02)
"""Of shares: a curve along 1 is seen too."""
RATE_NAMES = ("1/8", "1/4", "1/2", "1", "2", "4", "8")


def draw_froc(band: Band, on: str, path: Path) -> None:
    """Sensitivity against false positives per scan, with the 95 % interval of resampled scans."""
    sheet, axes = _sheet()
    axes.fill_between(band.rates, band.low, band.high, alpha=0.2, linewidth=0)
    axes.plot(band.rates, band.sensitivity)
    axes.set_xscale("log", base=2)
    axes.set_xticks(LUNA16_RATES, RATE_NAMES)
    axes.set(xlabel="false positives per scan", ylabel="sensitivity", ylim=UP_TO_ONE, title=f"FROC, {on}")
    _save(sheet, axes, path)


def draw_reliability(bins: Sequence[Bin], on: str, path: Path) -> None:
    """Share of nodules against mean score, in bins of equal mass."""
    sheet, axes = _sheet()
    shares = [one.share for one in bins]
    below = [max(one.share - one.interval[0], 0) for one in bins]
    above = [max(one.interval[1] - one.share, 0) for one in bins]
    axes.plot((0, 1), (0, 1), linestyle=":", color="grey")
    axes.errorbar([one.mean_score for one in bins], shares, yerr=(below, above), marker="o", capsize=2)
    axes.set(xlabel="score", ylabel="share that are nodules", xlim=(0, 1), ylim=UP_TO_ONE, title=f"Reliability, {on}")
    _save(sheet, axes, path)


def _sheet() -> tuple[Sheet, Axes]:
    sheet = Sheet(figsize=INCHES, layout="constrained")
    return sheet, sheet.subplots()


def _save(sheet: Sheet, axes: Axes, path: Path) -> None:
    axes.grid(visible=True, alpha=0.3)
    axes.title.set_fontsize(9)
    sheet.savefig(path, dpi=DOTS_PER_INCH)
