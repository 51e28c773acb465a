"""What a report says of each nodule: its measurements, its name, its place; as the finding has them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset
from pydicom.sr.coding import Code

from node.domain.finding import Finding, KeyImage, Measurements, NoduleType, SolidPart
from workers.results import codes as c
from workers.results.check import tree
from workers.results.check.rules import Object

ROUNDING = 1e-6
"""Of a decimal string of 16 characters, relative."""
LARGEST_MM = 150.0
"""No lung holds a larger nodule."""
VOLUME_FACTOR = 100.0
"""Between a volume and the sphere of its mean diameter. Odd masks, as of a curved vessel on one slice, reach 30; a unit
that was taken for another makes 1000."""
POSSIBLE_HU = (-1025.0, 32767.0)
"""What a volume holds; metal is beyond 4000."""


@dataclass(frozen=True)
class Told:
    """One measurement as the report must tell it."""

    name: Code
    value: float
    unit: Code
    is_mean: bool = False


def _expected(finding: Finding) -> list[Told]:
    sizes = finding.measurements
    told = [
        Told(c.DIAMETER, sizes.mean_diameter_mm, c.MM, is_mean=True),
        *_axes(sizes),
        Told(c.ATTENUATION, sizes.mean_hu, c.HU, is_mean=True),
    ]
    return told if sizes.volume_mm3 is None else [*told, Told(c.VOLUME, sizes.volume_mm3, c.MM3)]


def _axes(sizes: Measurements | SolidPart) -> list[Told]:
    """What is told on an image."""
    return [Told(c.LONG_AXIS, sizes.long_axis_mm, c.MM), Told(c.SHORT_AXIS, sizes.short_axis_mm, c.MM)]


def _measured(of: Object) -> Iterator[tuple[str, Told, list[Dataset]]]:
    """Label, what must be told, and the items that could tell it."""
    for finding, group in tree.pairs(of, tree.on_segments(of)):
        for each in _expected(finding):
            yield finding.label, each, _candidates(group, each)
    for finding, group in tree.pairs(of, tree.on_images(of)):
        for each in _axes(finding.measurements):
            yield finding.label, each, _candidates(group, each)


def _candidates(group: Dataset, told: Told) -> list[Dataset]:
    named = tree.children(group, told.name)
    if not told.is_mean:
        return named
    return [item for item in named if tree.key(c.MEAN) in _derivations(item)]


def _derivations(item: Dataset) -> list[tree.Key]:
    return [tree.key_in(each, "ConceptCodeSequence") for each in tree.children(item, tree.DERIVATION)]


def _tells(item: Dataset, value: float) -> bool:
    number = float(item.MeasuredValueSequence[0].NumericValue)
    return math.isclose(number, value, rel_tol=ROUNDING, abs_tol=ROUNDING)


def other_values(of: Object) -> Iterator[str]:
    """Measurements that are not told, or otherwise than they were made."""
    for label, told, items in _measured(of):
        if not any(_tells(item, told.value) for item in items):
            yield f"{label} {told.name.meaning}"
    for finding, group in tree.pairs(of, tree.on_segments(of)):
        if finding.measurements.volume_mm3 is None and tree.children(group, c.VOLUME):
            yield f"{finding.label} {c.VOLUME.meaning}, which was not measured"


def other_units(of: Object) -> Iterator[str]:
    """Right numbers with a wrong unit."""
    for label, told, items in _measured(of):
        units = {_unit(item) for item in items if _tells(item, told.value)}
        if units and tree.key(told.unit) not in units:
            yield f"{label} {told.name.meaning}"


def _unit(item: Dataset) -> tree.Key:
    return tree.key_in(item.MeasuredValueSequence[0], "MeasurementUnitsCodeSequence")


def not_sane(of: Object) -> Iterator[str]:
    """Sizes that no nodule has, whatever measured them."""
    for finding in of.request.findings:
        yield from (f"{finding.label} {what}" for what in _implausible(finding))
        if not _is_inside(finding, of):
            yield f"{finding.label} centre outside the images"


def _implausible(finding: Finding) -> Iterator[str]:
    sizes = finding.measurements
    numbers = (sizes.mean_diameter_mm, sizes.long_axis_mm, sizes.short_axis_mm, sizes.mean_hu, finding.confidence)
    if not all(map(math.isfinite, (*numbers, *finding.center_lps_mm, sizes.volume_mm3 or 0.0))):
        yield "not finite"
        return
    if not 0 < sizes.mean_diameter_mm <= LARGEST_MM:
        yield "mean diameter"
    if not 0 < sizes.short_axis_mm <= sizes.long_axis_mm:
        yield "axes"
    if not sizes.short_axis_mm - 0.1 <= sizes.mean_diameter_mm <= sizes.long_axis_mm + 0.1:
        yield "mean diameter beyond the axes"
    if not POSSIBLE_HU[0] <= sizes.mean_hu <= POSSIBLE_HU[1]:
        yield "mean HU"
    if not 0 <= finding.confidence <= 1:
        yield "confidence"
    if sizes.volume_mm3 is not None and not _fits(sizes.volume_mm3, sizes.mean_diameter_mm):
        yield "volume"


def _fits(volume_mm3: float, diameter_mm: float) -> bool:
    sphere_mm3 = math.pi / 6 * diameter_mm**3
    return sphere_mm3 / VOLUME_FACTOR <= volume_mm3 <= sphere_mm3 * VOLUME_FACTOR


def _is_inside(finding: Finding, of: Object) -> bool:
    volume = of.request.volume
    if volume is None:
        return False
    zyx = volume.to_zyx(np.array([finding.center_lps_mm]))[0]
    return bool((zyx >= -0.5).all() and (zyx <= np.array(volume.hu.shape) - 0.5).all())


def other_tracking(of: Object) -> Iterator[str]:
    """Name and UID by which a nodule is followed, in both of its groups, as in the segmentation."""
    for found in (tree.on_segments(of), tree.on_images(of)):
        for finding, group in tree.pairs(of, found):
            if _tracking(group) != ([finding.label], [of.request.tracking_uid(finding)]):
                yield finding.label


def _tracking(group: Dataset) -> tuple[list[str], list[str]]:
    names = [str(each.get("TextValue", "")) for each in tree.children(group, tree.TRACKING_ID)]
    return names, [str(each.get("UID", "")) for each in tree.children(group, tree.TRACKING_UID)]


def other_segment(of: Object) -> Iterator[str]:
    """The segment that a group measures is the finding's."""
    for finding, group in tree.pairs(of, tree.on_segments(of)):
        named = [_referenced(item) for item in tree.children(group, tree.REFERENCED_SEGMENT)]
        if [(each.get("ReferencedSOPInstanceUID"), _numbers(each)) for each in named] != [
            (of.request.seg_uid, [finding.ordinal])
        ]:
            yield finding.label


def _numbers(reference: Dataset) -> list[int]:
    value = reference.get("ReferencedSegmentNumber")
    return [int(each) for each in (value if isinstance(value, Sequence) else [value])]


def _referenced(item: Dataset) -> Dataset:
    sequence: Sequence[Dataset] = item.get("ReferencedSOPSequence") or [Dataset()]
    return sequence[0]


def other_kind(of: Object) -> Iterator[str]:
    """Finding, composition and side are those of the finding."""
    for finding, group in tree.pairs(of, tree.on_segments(of)):
        found = [tree.key_in(each, "ConceptCodeSequence") for each in tree.children(group, tree.FINDING)]
        kinds = [
            tree.key_in(each, "ConceptCodeSequence") for each in tree.children(group, c.ATTENUATION_CHARACTERISTIC)
        ]
        sides = [
            tree.key_in(each, "ConceptCodeSequence")
            for site in tree.children(group, tree.FINDING_SITE)
            for each in tree.children(site, tree.SIDE)
        ]
        side = c.LATERALITY.get(finding.side)
        wanted = ([tree.key(c.NODULE_TYPES[finding.type])], [tree.key(side)] if side else [])
        if tree.key(c.NODULE) not in found or (kinds, sides) != wanted:
            yield finding.label


def other_outline(of: Object) -> Iterator[str]:
    """The outline is closed, lies on its key image, and is that of the finding."""
    for finding, group in tree.pairs(of, tree.on_images(of)):
        yield from _other_outline(finding.label, finding.key_image, group, of)


def _other_outline(label: str, key: KeyImage, group: Dataset, of: Object) -> Iterator[str]:
    region = tree.children(group, tree.IMAGE_REGION)[0]
    source = _referenced((region.get("ContentSequence") or [Dataset()])[0])
    if source.get("ReferencedSOPInstanceUID") != key.sop_instance_uid:
        yield f"{label} image"
    if source.get("ReferencedFrameNumber") != key.frame_number:
        yield f"{label} frame"
    points = np.array(region.GraphicData, float).reshape(-1, 2)
    if not _is_outline(points, np.array([*key.outline, key.outline[0]], float), of):
        yield f"{label} outline"


def other_solid_part(of: Object) -> Iterator[str]:
    """A solid part has its own name, size and outline, and is part of a part-solid nodule."""
    for (finding, part), group in zip(of.request.solid_parts, tree.on_solid_parts(of), strict=False):
        identifier, uid = of.request.solid_tracking(finding)
        if finding.type is not NoduleType.PART_SOLID or part.mean_diameter_mm > finding.measurements.long_axis_mm + 0.1:
            yield identifier
        if _tracking(group) != ([identifier], [uid]):
            yield f"{identifier} tracking"
        for told in (Told(c.DIAMETER, part.mean_diameter_mm, c.MM, is_mean=True), *_axes(part)):
            items = [each for each in _candidates(group, told) if _unit(each) == tree.key(told.unit)]
            if not any(_tells(item, told.value) for item in items):
                yield f"{identifier} {told.name.meaning}"
        yield from _other_outline(identifier, part.key_image, group, of)


def _is_outline(points: NDArray[np.float64], wanted: NDArray[np.float64], of: Object) -> bool:
    volume = of.request.volume
    if volume is None or points.shape != wanted.shape or not np.allclose(points, wanted, atol=1e-3):
        return False
    _, rows, columns = volume.hu.shape
    return bool((points >= -1e-3).all() and (points <= np.array([columns, rows]) + 1e-3).all())
