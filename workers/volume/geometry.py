"""Image planes to one straight, even stack: order along the normal and the affine, or BadInput."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from node.domain.stack import step_tolerance_mm
from node.errors import BadInput
from workers.volume.planes import Plane

MAX_SHEAR_DEGREES = 0.5
"""Between the way from slice to slice and the slices' normal; more is an uncorrected gantry tilt."""
MAX_LATERAL_SHIFT_MM = 0.5
"""Of a slice against the straight line through first and last slice."""


def stack(planes: Sequence[Plane]) -> tuple[list[Plane], NDArray[np.float64]]:
    """Order the planes along their normal and return them with the affine of the volume."""
    first = planes[0]
    if any(np.abs(plane.orientation - first.orientation).max() > 1e-3 for plane in planes):
        raise BadInput("The images of the series are not parallel.")
    if any(np.abs(plane.spacing_yx_mm / first.spacing_yx_mm - 1).max() > 1e-3 for plane in planes):
        raise BadInput("The images of the series differ in PixelSpacing.")
    normal = np.cross(first.orientation[0], first.orientation[1])
    normal *= -1.0 if normal[2] < 0 else 1.0
    ordered = sorted(planes, key=lambda plane: float(plane.position_lps_mm @ normal))
    positions = np.array([plane.position_lps_mm for plane in ordered])
    _require_even_steps(positions, normal)
    lowest = ordered[0]  # not the first that was given: files come in any order, and the volume must not depend on it
    affine = np.eye(4)
    affine[:3, 0] = (positions[-1] - positions[0]) / max(len(positions) - 1, 1)
    affine[:3, 1] = lowest.orientation[1] * lowest.spacing_yx_mm[0]
    affine[:3, 2] = lowest.orientation[0] * lowest.spacing_yx_mm[1]
    affine[:3, 3] = positions[0]
    return ordered, affine


def _require_even_steps(positions_lps_mm: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
    steps = np.diff(positions_lps_mm @ normal)
    if not steps.size or steps.min() < 1e-2:
        raise BadInput("Two images of the series lie at the same position.")
    typical = float(np.median(steps))
    if np.abs(steps - typical).max() > step_tolerance_mm(typical):
        raise BadInput(
            f"The slices are unevenly spaced ({steps.min():.2f} to {steps.max():.2f} mm): images are missing."
        )
    way = positions_lps_mm[-1] - positions_lps_mm[0]
    shear = np.degrees(np.arccos(np.clip(way @ normal / np.linalg.norm(way), -1, 1)))
    if shear > MAX_SHEAR_DEGREES:
        raise BadInput(f"The slices are sheared by {shear:.1f} degrees (gantry tilt), which is not corrected here.")
    line = positions_lps_mm[0] + np.linspace(0, 1, len(positions_lps_mm))[:, None] * way
    off = positions_lps_mm - line
    if np.linalg.norm(off - np.outer(off @ normal, normal), axis=1).max() > MAX_LATERAL_SHIFT_MM:
        raise BadInput("The slices are shifted against each other.")
