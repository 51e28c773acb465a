"""Synthetic scans with what is found in them, and requests for results."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from node.domain.finding import Finding, NoduleType, Side
from node.domain.outcome import Conclusion, Outcome
from node.domain.uids import ResultIdentity
from tests.builders import LUNG_HU, Scan, Sphere, ct_series, enhanced_ct, half_max_mask, spheres_hu, write_series
from workers.measure import measure
from workers.results import EncodedResult, Equipment, Model, ResultRequest, broken_rules, encode_all
from workers.volume import Mask, Series, Volume, load_series
from workers.volume.heat import HeatMap

BALLS = (Sphere((8, 12, 12), 9), Sphere((20, 25, 30), 7, -600), Sphere((13, 33, 14), 6, 400))


@dataclass(frozen=True)
class Reading:
    """A synthetic scan and what is found in it."""

    series: Series
    findings: tuple[Finding, ...]
    masks: tuple[Mask, ...]


def reading(folder: Path, count: int, scan: Scan | None = None, multi_frame: bool = False) -> Reading:
    """Write a small scan with `count` (0 to 3) balls, load it again, and measure every ball at half maximum."""
    scan = scan or Scan()
    hu = spheres_hu((28, 64, 64), scan.spacing_zyx_mm, BALLS[:count])
    datasets = [enhanced_ct(hu, scan)] if multi_frame else ct_series(hu, scan)
    return found_in(load_series(write_series(datasets, folder)), count)


def found_in(series: Series, count: int) -> Reading:
    """The first `count` of BALLS in a scan that holds them, outlined and measured."""
    masks = tuple(half_max_mask_of(series.volume, sphere) for sphere in BALLS[:count])
    return Reading(series, tuple(_finding(series.volume, mask, n) for n, mask in enumerate(masks, 1)), masks)


def half_max_mask_of(volume: Volume, sphere: Sphere) -> Mask:
    """Like `half_max_mask` in a volume with several balls: only voxels near this one."""
    grid = np.indices(volume.hu.shape).reshape(3, -1).T * volume.spacing_zyx_mm
    near = (((grid - sphere.center_zyx_mm) ** 2).sum(axis=1) < (sphere.diameter_mm * 0.75) ** 2).reshape(
        volume.hu.shape
    )
    hu = np.where(near, volume.hu, LUNG_HU)
    return half_max_mask(Volume(hu, volume.spacing_zyx_mm, volume.affine, volume.slices), sphere)


def _finding(volume: Volume, mask: Mask, ordinal: int) -> Finding:
    measured = measure(volume, mask)
    types = (NoduleType.SOLID, NoduleType.GROUND_GLASS, NoduleType.CALCIFIED)
    sides = (Side.RIGHT, Side.LEFT, Side.UNKNOWN)
    return Finding(
        ordinal=ordinal,
        center_lps_mm=measured.center_lps_mm,
        confidence=0.95 - 0.1 * ordinal,
        type=types[ordinal - 1],
        side=sides[ordinal - 1],
        measurements=measured.measurements,
        key_image=measured.key_image,
    )


def heat_of(found: Reading) -> HeatMap:
    """Scores on a grid of 5 mm over a scan: high at each nodule, falling around it."""
    volume, cell_mm = found.series.volume, 5.0
    counts = [int(np.ceil(n * each / cell_mm)) for n, each in zip(volume.hu.shape, volume.spacing_zyx_mm, strict=True)]
    axes = volume.affine[:3, :3] / np.array(volume.spacing_zyx_mm)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = axes * cell_mm, volume.affine[:3, 3] + axes @ np.full(3, cell_mm / 2)
    index = np.indices(counts).reshape(3, -1)
    places = (affine[:3, :3] @ index).T + affine[:3, 3]
    scores = np.full(len(places), 0.01, np.float32)
    for finding in found.findings:
        apart = np.linalg.norm(places - np.array(finding.center_lps_mm), axis=1)
        scores = np.maximum(scores, (finding.confidence * np.exp(-((apart / 6) ** 2))).astype(np.float32))
    return HeatMap(scores.reshape(counts), affine)


def result_request(found: Reading, conclusion: Conclusion | None = None, **changes: Any) -> ResultRequest:
    """A complete request for the results of a reading, with a fixed time of creation."""
    outcome = Outcome.FINDINGS if found.findings else Outcome.NO_FINDINGS
    parts: dict[str, Any] = {
        "conclusion": conclusion or Conclusion(outcome),
        "headers": found.series.headers,
        "identity": ResultIdentity(
            tuple((str(header.SOPInstanceUID), "0" * 64) for header in found.series.headers), "1.0.0", "w", "s"
        ),
        "equipment": Equipment("NODUS", "installation-1", ("1.0.0",)),
        "model": Model("nodus-lung", "1.0.0"),
        "created": datetime(2025, 3, 4, 5, 6, 7, 89, tzinfo=UTC),
        "volume": found.series.volume,
        "heat": heat_of(found),
        "findings": found.findings,
        "masks": found.masks,
    }
    return ResultRequest(**(parts | changes))


def unbroken(request: ResultRequest) -> tuple[EncodedResult, ...]:
    """Every result of a request; none of them breaks a rule."""
    results = encode_all(request)
    assert [str(broken) for result in results for broken in broken_rules(result, request)] == []
    return results


def not_analysed(found: Reading, reason: str = "The images of the series are not parallel.") -> ResultRequest:
    """A request for the report on a study that could not be read: one header is all there is."""
    return result_request(
        found,
        Conclusion(Outcome.NOT_ANALYSED, (reason,)),
        headers=found.series.headers[:1],
        volume=None,
        heat=None,
        findings=(),
        masks=(),
    )
