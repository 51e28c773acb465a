"""The chain on one page, readable from top to bottom."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from pydicom import Dataset

from node.domain.eligibility import Eligibility, Level
from node.domain.finding import Finding
from node.domain.outcome import Conclusion, Outcome
from workers.classify import Judged, classify, composition
from workers.lungs import Lungs, segment_lungs
from workers.measure import Measured, measure
from workers.models import Detector, Shipped
from workers.networks.budget import budget, naming_memory
from workers.networks.operating import OperatingPoint
from workers.networks.weights import in_use, ready
from workers.quality import check_quality
from workers.results import Model
from workers.segment import segment
from workers.volume import Mask, Series, Volume, load_series

NAME = "Nodus lung nodule"
VERSION = "1"
"""Of this chain; part of every result's identity. Raise it when the same images may read differently."""

SMALLEST_ON_THICK_MM = 6.0
"""On slices that are thick or far apart, nodules below this size are not assessed."""

OURS = ("classifier", "segmenter")
"""Networks that always read, whatever detects."""

Progress = Callable[[str, int], None]
"""Stage and percent."""


@dataclass(frozen=True)
class Models:
    """The networks that read, as results name them."""

    model: Model
    weights_sha256: str
    settings_digest: str


@dataclass(frozen=True)
class Reading:
    """What was read from one series."""

    conclusion: Conclusion
    headers: tuple[Dataset, ...]
    """Of every image, without pixels, in volume order."""
    volume: Volume
    findings: tuple[Finding, ...]
    masks: tuple[Mask, ...]
    """One per finding, same order."""
    timings_s: dict[str, float]
    models: Models
    """Those that read it, whatever was chosen or installed since."""
    more_findings: bool = False
    """There may be more nodules than `findings` names; a limitation says why."""


def models(detector: Detector | None = None, point: OperatingPoint | None = None) -> Models:
    """Name and version of the network set, one SHA-256 over all its weights, and one over its thresholds.

    Of the networks in this process, which are loaded where they are not yet. Raises WeightsError.
    """
    detector = detector or Shipped()
    records = {name: (in_use(name).version, in_use(name).sha256) for name in OURS}
    ordered = sorted({**records, "detector": (detector.version, detector.sha256)}.items())
    versions = ", ".join(f"{name} {version}" for name, (version, _) in ordered)
    weights = hashlib.sha256("\n".join(sha256 for _, (_, sha256) in ordered).encode()).hexdigest()
    settings = hashlib.sha256(repr(point or OperatingPoint()).encode()).hexdigest()
    return Models(Model(NAME, versions), weights, settings)


def prepare(detector: Detector | None = None) -> None:
    """Load the networks now, so that the first study does not wait for them. Raises WeightsError, ModelFailed."""
    (detector or Shipped()).prepare(budget().device)
    for name in OURS:
        ready(name, budget().device)


@naming_memory()
def read(
    paths: Sequence[Path],
    verdict: Eligibility,
    progress: Progress = lambda stage, percent: None,
    point: OperatingPoint | None = None,
    economy: int = 0,
    detector: Detector | None = None,
) -> Reading:
    """Read one CT series. `verdict` is that on its headers; limitations that the pixels add come behind its own.

    `economy`: how sparing with memory, see `workers.networks.budget`; the findings do not depend on it.
    `detector`: the shipped one where it is None.
    Raises BadInput where the images cannot be read (NotAChest where they show no lungs), OutOfMemory, WeightsError,
    ModelFailed.
    """
    watch = Stopwatch(progress)
    with watch.stage("read images", 5):
        series = load_series(paths)
    return read_series(series, verdict, watch, point, economy, detector)


@naming_memory()
def read_series(
    series: Series,
    verdict: Eligibility,
    watch: "Stopwatch",
    point: OperatingPoint | None = None,
    economy: int = 0,
    detector: Detector | None = None,
) -> Reading:
    """Read what was loaded before, from wherever it came; the rest as `read`."""
    volume, may_take, detector = series.volume, budget(economy), detector or Shipped()
    with watch.stage("find lungs", 20):
        lungs = segment_lungs(volume)
        limits = (*verdict.reasons, *check_quality(volume, lungs))
    with watch.stage("detect", 30):
        candidates = detector.find(volume, lungs, point, may_take)
    with watch.stage("classify", 55):
        selection = classify(volume, candidates, point, may_take)
        judged, limits = selection.nodules, (*limits, *selection.limitations)
    with watch.stage("segment", 70):
        masks = segment(volume, judged, may_take)
    with watch.stage("measure", 80):
        measured = [measure(volume, mask) for mask in masks]
        smallest = smallest_assessed_mm(verdict)
        nodules = [
            each
            for each in zip(judged, masks, measured, strict=True)
            if each[2].measurements.mean_diameter_mm >= smallest
        ]
        found = _findings(volume, lungs, nodules)
    findings, kept = tuple(finding for finding, _ in found), tuple(mask for _, mask in found)
    conclusion = conclude(findings, limits)
    read_by = models(detector, point)
    return Reading(conclusion, series.headers, volume, findings, kept, watch.seconds, read_by, selection.more)


def conclude(findings: Sequence[Finding], limitations: Sequence[str]) -> Conclusion:
    """Partial as soon as anything limits the reading; otherwise findings or none."""
    if limitations:
        return Conclusion(Outcome.PARTIAL, tuple(limitations))
    return Conclusion(Outcome.FINDINGS if findings else Outcome.NO_FINDINGS)


def smallest_assessed_mm(verdict: Eligibility) -> float:
    """Mean diameter below which nothing is reported: where the report announces that it is so."""
    return 0.0 if verdict.level in (Level.FULL, Level.PARTIAL) else SMALLEST_ON_THICK_MM


def _findings(
    volume: Volume, lungs: Lungs, nodules: Sequence[tuple[Judged, Mask, Measured]]
) -> list[tuple[Finding, Mask]]:
    """Findings by decreasing score, numbered."""
    ordered = sorted(nodules, key=lambda each: (-each[0].score, -each[2].voxel_volume_mm3))
    return [
        (
            Finding(
                ordinal=ordinal,
                center_lps_mm=size.center_lps_mm,
                confidence=one.score,
                type=composition(volume, mask, one),
                side=lungs.side_of(size.center_lps_mm),
                measurements=size.measurements,
                key_image=size.key_image,
            ),
            mask,
        )
        for ordinal, (one, mask, size) in enumerate(ordered, start=1)
    ]


@dataclass
class Stopwatch:
    """Tells the stage that begins, and keeps how long each took."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str, percent: int) -> Iterator[None]:
        """One stage."""
        self.progress(name, percent)
        begun = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - begun, 3)
