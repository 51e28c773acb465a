"""Results of all scans to the numbers that a card tells."""

from collections.abc import Sequence
from dataclasses import dataclass

from workers.assessment.classification import classification_figures, confusion_of, reliability_of
from workers.assessment.compare import Result
from workers.assessment.detection import Band, band_of, detection_figures
from workers.assessment.figure import Figure
from workers.assessment.segmentation import segmentation_figures
from workers.assessment.strata import Cell, cells_of
from workers.evaluation.calibration import Bin


@dataclass(frozen=True)
class Metrics:
    """Everything that was measured, in the order of the table."""

    scans: int
    scans_without_nodules: int
    nodules: int
    refused: dict[str, str]
    """Scans that were not analysed, and why; their nodules count as missed."""
    detection: tuple[Figure, ...]
    segmentation: tuple[Figure, ...]
    classification: tuple[Figure, ...]
    subgroups: tuple[Cell, ...]
    confusion: dict[str, dict[str, int]]
    """True type to named type to number, of found nodules."""
    reliability: tuple[Bin, ...]
    froc: Band
    results: tuple[Result, ...]


def metrics_of(results: Sequence[Result], seed: int) -> Metrics:
    """All numbers; `seed` decides the resamples of the intervals."""
    return Metrics(
        scans=len(results),
        scans_without_nodules=sum(not one.nodules for one in results),
        nodules=sum(len(one.nodules) for one in results),
        refused={one.name: one.refusal for one in results if one.refusal},
        detection=detection_figures(results, seed),
        segmentation=segmentation_figures(results, seed),
        classification=classification_figures(results, seed),
        subgroups=cells_of(results),
        confusion=confusion_of(results),
        reliability=reliability_of(results),
        froc=band_of(results, seed),
        results=tuple(results),
    )
