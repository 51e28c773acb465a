"""The chain on one page, readable from top to bottom."""

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydicom import Dataset

from node.domain.eligibility import Eligibility, Level
from node.domain.exam import ExamRules, Purpose
from node.domain.finding import Finding, NoduleType
from node.domain.guidance import Guidance
from node.domain.outcome import Conclusion, Outcome
from node.domain.prior import PriorComparison
from workers.classify import Judged, classify
from workers.composition import composition
from workers.guidelines.apply import guidance_of
from workers.guidelines.growth import LEAST_CHANGE_MM, MOST_STABLE_MM
from workers.guidelines.headers import exam_of
from workers.lungs import Lungs, segment_lungs
from workers.measure import Measured, measure
from workers.models import Detector, Shipped
from workers.networks.budget import budget, naming_memory
from workers.networks.operating import OperatingPoint
from workers.networks.weights import in_use, ready
from workers.quality import check_quality
from workers.results import Model
from workers.segment import segment
from workers.solid_part import solid_part
from workers.volume import Mask, Series, Volume, load_series
from workers.volume.heat import HeatMap

NAME = "Nodus lung nodule"
VERSION = "6"
"""Of this chain, its clinical rules included; part of every result's identity. Raise it when the same images may read
differently under the same settings."""

SMALLEST_ON_THICK_MM = 6.0
"""On slices that are thick or far apart, nodules below this size are not assessed."""

LO_LENGTH = 64
"""Characters of a version that DICOM and the catalog have room for."""

OURS = ("classifier", "composition", "segmenter")
"""Networks that always read, whatever detects."""

Progress = Callable[[str, int], None]
"""Stage and percent."""


@dataclass(frozen=True)
class Models:
    """The networks that read, as results name them."""

    model: Model
    weights_sha256: str
    settings_digest: str

    @property
    def read_by(self) -> str:
        """SHA-256 over all that decides what is found in an image, hex; of the models that read, before anything else
        was added to their settings."""
        said = (VERSION, self.model.version, self.weights_sha256, self.settings_digest)
        return hashlib.sha256("\n".join(said).encode()).hexdigest()


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
    guidance: Guidance | None = None
    """What clinical rules say of it; None where the purpose of the exam is not known."""
    lungs: Lungs | None = None
    """Where they were found."""
    comparison: PriorComparison | None = None
    """What became of its nodules since an earlier exam; None where there is none to tell of."""
    heat: HeatMap | None = None
    """The detector's scores wherever it looked; None where it gives none."""


def models(detector: Detector | None = None, point: OperatingPoint | None = None) -> Models:
    """Name and version of the network set, one SHA-256 over all its weights, and one over its thresholds.

    Of the networks in this process, which are loaded where they are not yet. Raises WeightsError.
    """
    detector = detector or Shipped()
    records = {name: (in_use(name).version, in_use(name).sha256) for name in OURS}
    ordered = sorted({**records, "detector": (detector.version, detector.sha256)}.items())
    version = version_of_all({name: version for name, (version, _) in ordered})
    weights = hashlib.sha256("\n".join(sha256 for _, (_, sha256) in ordered).encode()).hexdigest()
    settings = hashlib.sha256(repr(point or OperatingPoint()).encode()).hexdigest()
    return Models(Model(NAME, version), weights, settings)


def version_of_all(versions: Mapping[str, str]) -> str:
    """The version that most networks have, then each that has another, as far as DICOM has room (LO)."""
    usual = Counter(versions.values()).most_common(1)[0][0]
    others = [f"{name} {version}" for name, version in sorted(versions.items()) if version != usual]
    return ", ".join([usual, *others])[:LO_LENGTH]


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
        detected = detector.find(volume, lungs, point, may_take)
    with watch.stage("classify", 55):
        selection = classify(volume, detected.candidates, point, may_take)
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
    more, seconds, heat = selection.more, watch.seconds, detected.heat
    return Reading(conclusion, series.headers, volume, findings, kept, seconds, read_by, more, lungs=lungs, heat=heat)


def compared(reading: Reading, comparison: PriorComparison) -> Reading:
    """The same reading beside an earlier exam, which becomes part of the settings that it is identified by."""
    digest = hashlib.sha256(f"{reading.models.settings_digest}\n{comparison.source}".encode()).hexdigest()
    return replace(reading, comparison=comparison, models=replace(reading.models, settings_digest=digest))


def least_change_mm(reading: Reading, rules: ExamRules, senders: Collection[str] = ()) -> float:
    """Change of a mean diameter from which it counts: Lung-RADS has one of its own for screening."""
    exam = exam_of(reading.headers[0], rules, senders)
    return MOST_STABLE_MM if exam and exam.purpose is Purpose.SCREENING else LEAST_CHANGE_MM


def advise(reading: Reading, rules: ExamRules, senders: Collection[str] = ()) -> Reading:
    """The same reading with what clinical rules say of it, where its exam is one that they are made for.

    What decided that becomes part of the settings that the reading is identified by: other words in the settings, or
    another sender (AE titles that brought the images), may change what results say.
    """
    exam = exam_of(reading.headers[0], rules, senders)
    if exam is None:
        return reading
    digest = hashlib.sha256(f"{reading.models.settings_digest}\n{exam!r}".encode()).hexdigest()
    return replace(
        reading,
        guidance=guidance_of(exam, reading.findings, reading.conclusion, reading.comparison),
        models=replace(reading.models, settings_digest=digest),
    )


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
    found = []
    for ordinal, (one, mask, size) in enumerate(ordered, start=1):
        kind = composition(volume, mask)
        finding = Finding(
            ordinal=ordinal,
            center_lps_mm=size.center_lps_mm,
            confidence=one.score,
            type=kind,
            side=lungs.side_of(size.center_lps_mm),
            measurements=size.measurements,
            key_image=size.key_image,
            solid_part=solid_part(volume, mask) if kind is NoduleType.PART_SOLID else None,
        )
        found.append((finding, mask))
    return found


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
