"""Whether sizes on two reconstructions can be compared: slices and kernels alike."""

import re
from dataclasses import dataclass
from enum import StrEnum

from node.domain.instance import CtAttributes
from node.domain.prior import Unmeasured

SAME_MM = 0.55
"""Thickness and distance of slices may differ by half a millimetre, rounding included."""
SHARP = re.compile(r"^(?:(?:DETAIL|ULTRA|SHARP|FC(?:3[01]|5\d|8\d)|L|Y[A-D]|D|E)\b|LUNG|BONE|EDGE)")
"""Kernels with edge enhancement by GE, Canon and Philips; those of Siemens have a number."""
SMOOTH = re.compile(r"^(?:(?:STND|SMOOTH|FC[01]\d|A|B|C|XC[AB])\b|STANDARD|SOFT)")
SIEMENS = re.compile(r"^[A-Z]{1,2}(\d{2})")
"""Letters of the body part, and a number that rises with sharpness (B30f, Br40d, Bl57f)."""
SHARP_FROM = 50


class Kernel(StrEnum):
    """What a reconstruction kernel does to the rim of a nodule."""

    SMOOTH = "smooth"
    SHARP = "sharp"


@dataclass(frozen=True)
class Reconstruction:
    """How images were made."""

    thickness_mm: float | None
    step_mm: float
    kernel: str


def reconstruction_of(ct: CtAttributes, step_mm: float) -> Reconstruction:
    """Of a series, by what is known of one of its images."""
    return Reconstruction(ct.slice_thickness_mm, step_mm, ct.convolution_kernel.strip().upper())


def difference(one: Reconstruction, other: Reconstruction) -> Unmeasured | None:
    """Why sizes on both are not compared; None where they are.

    Kernels that neither names count as alike, and one that only one of them names does not.
    """
    thick = [one.thickness_mm or one.step_mm, other.thickness_mm or other.step_mm]
    if abs(thick[0] - thick[1]) > SAME_MM or abs(one.step_mm - other.step_mm) > SAME_MM:
        return Unmeasured.THICKNESS
    if one.kernel == other.kernel or (kernel_of(one.kernel) and kernel_of(one.kernel) is kernel_of(other.kernel)):
        return None
    return Unmeasured.KERNEL


def kernel_of(name: str) -> Kernel | None:
    """The kind of a kernel by its name; None where that says nothing to us."""
    upper = name.strip().upper()
    if upper.startswith("FC"):
        return _either(upper)
    if found := SIEMENS.match(upper):
        return Kernel.SHARP if int(found[1]) >= SHARP_FROM else Kernel.SMOOTH
    return _either(upper)


def _either(upper: str) -> Kernel | None:
    if SHARP.match(upper):
        return Kernel.SHARP
    return Kernel.SMOOTH if SMOOTH.match(upper) else None
