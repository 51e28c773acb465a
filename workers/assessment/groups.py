"""Which groups a scan belongs to: by its scanner, its dose, its patient."""

from collections.abc import Iterable

from node.domain.instance import InstanceHeader
from workers.quality import noise_in_soft_tissue_hu
from workers.volume import Volume

UNKNOWN = "unknown"
THICKNESS_MM, NOISE_HU, AGE_YEARS = (1.25, 2.5), (15.0, 30.0), (50.0, 65.0)
"""Upper limits of the bands; what is above the last one is a band too."""


def groups_of_headers(headers: Iterable[InstanceHeader]) -> dict[str, str]:
    """Kernel, slice thickness, sex and age, of the first CT image; a group that is not told is "unknown"."""
    header = next((header for header in headers if header.ct is not None), None)
    if header is None or header.ct is None:
        return {}
    return {
        "kernel": header.ct.convolution_kernel or UNKNOWN,
        "slice thickness": band(header.ct.slice_thickness_mm, THICKNESS_MM, "mm"),
        "sex": header.patient_sex or UNKNOWN,
        "age": band(header.ct.patient_age_years, AGE_YEARS, "years"),
    }


def noise_group(volume: Volume) -> dict[str, str]:
    """Noise in soft tissue, which stands for the dose."""
    return {"noise": band(noise_in_soft_tissue_hu(volume), NOISE_HU, "HU")}


def band(value: float | None, limits: tuple[float, float], unit: str) -> str:
    """The band that holds a value; upper limits belong to their band."""
    if value is None:
        return UNKNOWN
    low, high = limits
    if value <= low:
        return f"up to {low:g} {unit}"
    return f"{low:g} to {high:g} {unit}" if value <= high else f"above {high:g} {unit}"
