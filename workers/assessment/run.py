"""One command to one folder of numbers: scans read, compared, measured, told."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from node.errors import SettingsError
from workers import pipeline
from workers.assessment.compare import Result, compare
from workers.assessment.extra import extra
from workers.assessment.folder import folder_source
from workers.assessment.luna16 import luna16_source
from workers.assessment.metrics import metrics_of
from workers.assessment.phantoms import phantom_source
from workers.assessment.progress import progress
from workers.assessment.report import Report
from workers.assessment.scan import Scan, Source


@dataclass(frozen=True)
class Order:
    """What the operator asked for: exactly one of phantoms, folder and luna16."""

    phantoms: int | None
    folder: Path | None
    truth: Path | None
    luna16: Path | None
    seed: int
    out: Path
    smallest: float = 0.0
    """Nodules below so many mm are neither right nor wrong."""

    @property
    def command(self) -> str:
        """The command that measures the same again."""
        what = (
            f"--phantoms {self.phantoms}" if self.phantoms else "--luna16 DIR" if self.luna16 else "FOLDER --truth CSV"
        )
        floor = f" --smallest {self.smallest:g}" if self.smallest else ""
        return f"nodus evaluate {what}{floor} --seed {self.seed}"


def evaluate(order: Order) -> Report:
    """Measure the shipped models and write metrics.json, card.md and the plots into `out`.

    Raises SettingsError where the order cannot be carried out, or the extra `evaluation` is missing.
    """
    extra("matplotlib")
    return assess(_source(order), order)


def _source(order: Order) -> Source:
    if sum(each is not None for each in (order.phantoms, order.folder, order.luna16)) != 1:
        raise SettingsError("Give exactly one of a folder, --phantoms and --luna16.")
    if (order.folder is None) != (order.truth is None):
        raise SettingsError("A folder needs --truth, the table of its nodules, and nothing else takes one.")
    if order.phantoms is not None:
        return phantom_source(order.phantoms, order.seed)
    if order.folder is not None and order.truth is not None:
        return folder_source(order.folder, order.truth)
    assert order.luna16 is not None
    return luna16_source(order.luna16)


def assess(source: Source, order: Order) -> Report:
    """Read every scan of a source, and write what came of it."""
    from workers.assessment.plots import draw_froc, draw_reliability  # matplotlib, which `extra` asked for by name

    order.out.mkdir(parents=True, exist_ok=True)
    models = pipeline.models()
    with progress(source.count) as tell:
        results = [_told(compare(counting(scan, order.smallest)), tell) for scan in source.scans]
    on = f"{source.on}; nodules of {order.smallest:g} mm and more" if order.smallest else source.on
    report = Report(metrics_of(results, order.seed), on, order.command, models, source.notes)
    (order.out / "metrics.json").write_text(report.json())
    (order.out / "card.md").write_text(report.markdown())
    draw_froc(report.metrics.froc, on, order.out / "froc.png")
    draw_reliability(report.metrics.reliability, on, order.out / "reliability.png")
    return report


def counting(scan: Scan, smallest_mm: float) -> Scan:
    """The scan with its nodules below a diameter made irrelevant findings, as LUNA16 does with those below 3 mm."""
    large = [nodule.truth.counts and nodule.truth.diameter_mm >= smallest_mm for nodule in scan.nodules]
    nodules = [
        replace(nodule, truth=replace(nodule.truth, counts=counts))
        for nodule, counts in zip(scan.nodules, large, strict=True)
    ]
    return replace(scan, nodules=tuple(nodules))


def _told(result: Result, tell: Callable[[str], None]) -> Result:
    hits = sum(score is not None for score in result.matched.hits)
    said = result.refusal or f"{hits} of {len(result.nodules)} nodules among the candidates, {result.seconds:.0f} s"
    tell(f"{result.name}: {said}")
    return result
