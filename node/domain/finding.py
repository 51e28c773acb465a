"""What the analysis says about one nodule."""

from dataclasses import dataclass
from enum import StrEnum

Point = tuple[float, float, float]
"""x, y, z in the patient's LPS frame, mm."""

PixelPoint = tuple[float, float]
"""column, row on one image; (0.5, 0.5) is the centre of the top left pixel (PS3.3 C.10.5.1.1, SCOORD)."""


class NoduleType(StrEnum):
    """Composition of a nodule, as Fleischner 2017 and Lung-RADS v2022 use the words."""

    SOLID = "solid"
    PART_SOLID = "part-solid"
    GROUND_GLASS = "ground-glass"
    CALCIFIED = "calcified"


class Side(StrEnum):
    """Which lung."""

    RIGHT = "right"
    LEFT = "left"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Measurements:
    """Sizes on the native voxel grid; None is "not measured", never zero."""

    mean_diameter_mm: float
    """Mean of long and short axis on the same axial slice, one decimal."""
    long_axis_mm: float
    short_axis_mm: float
    """Largest extent perpendicular to the long axis, same slice."""
    volume_mm3: float | None
    """None where slices are more than 2.5 mm apart."""
    mean_hu: float
    """Mean over the mask, eroded by one voxel where something is left of it."""


@dataclass(frozen=True)
class KeyImage:
    """The slice on which a nodule is measured and shown."""

    sop_instance_uid: str
    sop_class_uid: str
    frame_number: int | None
    """1-based; None for a single-frame image."""
    instance_number: int | None
    slice_index: int
    """Index along z of the volume."""
    outline: tuple[PixelPoint, ...]
    """Closed polygon around the mask on this slice; the first point is not repeated."""
    long_axis: tuple[PixelPoint, PixelPoint]
    short_axis: tuple[PixelPoint, PixelPoint]


@dataclass(frozen=True)
class SolidPart:
    """The solid part of a part-solid nodule: its largest solid piece, on the slice where that is longest."""

    mean_diameter_mm: float
    """Mean of long and short axis, one decimal."""
    long_axis_mm: float
    short_axis_mm: float
    within_mm: float
    """How far `mean_diameter_mm` may be from the true one."""
    key_image: KeyImage


@dataclass(frozen=True)
class Finding:
    """One nodule: where, how large, of what kind, how sure."""

    ordinal: int
    """1..n by decreasing suspicion; also the Segment Number."""
    center_lps_mm: Point
    """Centroid of the mask."""
    confidence: float
    """The detector's score, 0..1; not a probability of disease."""
    type: NoduleType
    side: Side
    measurements: Measurements
    key_image: KeyImage
    solid_part: SolidPart | None = None
    """None: it was not measured, which does not say that there is none."""

    @property
    def label(self) -> str:
        """The Tracking Identifier: N1, N2, ..."""
        return f"N{self.ordinal}"


def summary(finding: Finding) -> str:
    """One line about a nodule, for people."""
    size = finding.measurements
    volume = "volume not measured" if size.volume_mm3 is None else f"{size.volume_mm3:.0f} mm3"
    place, part = ", ".join(f"{value:.0f}" for value in finding.center_lps_mm), finding.solid_part
    solid = (
        f" (solid part {part.mean_diameter_mm:.1f} mm, within {part.within_mm:.1f} mm on synthetic nodules)"
        if part
        else ""
    )
    return (
        f"{finding.type} nodule, {finding.side} lung, {size.mean_diameter_mm:.1f} mm{solid}, {volume},"
        f" at LPS ({place}), image {finding.key_image.instance_number}, score {finding.confidence:.2f}"
    )
