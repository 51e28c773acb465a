"""What the pixels must look like before the AI reads them, and why not."""

import numpy as np

from node.domain.finding import Side
from node.errors import BadInput, NotAChest
from workers.volume import Lungs, Volume

AXIAL_WITHIN_DEGREES = 10.0
"""Between the slices' normal and the body's long axis; the networks know axial slices only (reference: 7.1)."""
SOFT_TISSUE_HU = (-110.0, 110.0)
"""Median of everything between fat and bone, in a body of any build, with and without contrast."""
LUNG_HU = (-965.0, -550.0)
"""Median of air-filled lung, from worst emphysema to deep expiration."""
THINNEST_HU = -900.0
"""The first percentile of all values lies below: room air, windpipe or the thinnest lung."""
LUNG_LITRES = (1.0, 12.0)
"""Air in both lungs of a body that is a chest (reference: "lung volume 1-12 L")."""
LEAST_LUNG_LITRES = 0.3
"""One lung with less is white, collapsed or gone: breathed out as far as it goes, an adult one holds about 0.5."""
LEAST_OF_OTHER = {Side.RIGHT: 0.75, Side.LEFT: 0.6}
"""Smallest share of the other lung's volume in a healthy pair. The heart takes its room from the left lung: left over
right is about 0.85, and 0.74 to 1.12 in the real scans; a right lung below 0.75 of the left is as far from that."""
SHORTEST_SCAN_MM = 150.0
"""A scan that covers a chest (reference: "z coverage >= 150 mm")."""
NOISE_HU = 120.0
"""Standard deviation between neighbours in soft tissue; a sharp kernel at normal dose has about 75."""
OPEN_EDGE_CM2 = 5.0
"""Lung on the border of the images, over the whole scan, that shows a field of view cut too tight."""


def check_quality(volume: Volume, lungs: Lungs) -> tuple[str, ...]:
    """Return one sentence for each thing that limits the reading; none for a whole chest at normal quality.

    Raises BadInput (NotAChest for too little lung) where the images are not an axial CT of a chest in Hounsfield units.
    """
    _require_axial(volume)
    _require_chest(lungs)
    _require_hounsfield(volume, lungs)
    return (*_coverage(volume, lungs), *_sides(lungs), *_noise(volume))


def _require_axial(volume: Volume) -> None:
    step = volume.affine[:3, 0] / np.linalg.norm(volume.affine[:3, 0])
    tilt = float(np.degrees(np.arccos(np.clip(abs(step[2]), 0, 1))))
    if tilt > AXIAL_WITHIN_DEGREES:
        raise BadInput(f"The slices are not axial: they are tilted by {tilt:.0f} degrees.")


def _require_hounsfield(volume: Volume, lungs: Lungs) -> None:
    """A wrong rescale moves lung and soft tissue; scanners and converters do that."""
    sample = volume.hu[::2, ::4, ::4]
    soft = sample[(sample > -200) & (sample < 300)]
    median, thinnest = float(np.median(soft)) if soft.size else float("nan"), float(np.percentile(sample, 1))
    in_range = SOFT_TISSUE_HU[0] <= median <= SOFT_TISSUE_HU[1] and LUNG_HU[0] <= lungs.median_hu <= LUNG_HU[1]
    if not in_range or thinnest > THINNEST_HU:
        raise BadInput(
            "The pixel values do not look like Hounsfield units: "
            f"soft tissue {median:.0f}, lung {lungs.median_hu:.0f}, air {thinnest:.0f}."
        )


def _require_chest(lungs: Lungs) -> None:
    litres = lungs.air_volume_l
    if not LUNG_LITRES[0] <= litres <= LUNG_LITRES[1]:
        text = f"The images do not show a whole chest: {litres:.1f} litres of lung are in them, not 1 to 12."
        raise NotAChest(text) if litres < LUNG_LITRES[0] else BadInput(text)


def _coverage(volume: Volume, lungs: Lungs) -> tuple[str, ...]:
    sentences = []
    if lungs.cut_at_head:
        sentences.append("The tops of the lungs were not scanned.")
    if lungs.cut_at_feet:
        sentences.append("The bases of the lungs were not scanned.")
    length_mm = len(volume.hu) * volume.spacing_zyx_mm[0]
    if length_mm < SHORTEST_SCAN_MM:
        sentences.append(f"Only {length_mm:.0f} mm of the chest were scanned.")
    if _open_edge_cm2(lungs) > OPEN_EDGE_CM2:
        sentences.append("The field of view cuts off part of the lungs.")
    return tuple(sentences)


def _sides(lungs: Lungs) -> tuple[str, ...]:
    """Consolidation, effusion and collapse have no air, so nothing else here sees that part of a lung is missing."""
    sentences = []
    for side, other in ((Side.RIGHT, Side.LEFT), (Side.LEFT, Side.RIGHT)):
        litres = lungs.litres_of(side)
        if litres < LEAST_LUNG_LITRES:
            sentences.append(f"The {side} lung contains little or no air and was not assessed.")
        elif litres < LEAST_OF_OTHER[side] * lungs.litres_of(other):
            sentences.append(f"The {side} lung is much smaller than the {other}: dense parts of it were not assessed.")
    return tuple(sentences)


def _open_edge_cm2(lungs: Lungs) -> float:
    """Area of the lungs on the four side faces of the images."""
    labels, (dz, dy, dx) = lungs.labels, np.linalg.norm(lungs.affine[:3, :3], axis=0)
    front_and_back = np.count_nonzero(labels[:, [0, -1]]) * dz * dx
    left_and_right = np.count_nonzero(labels[:, :, [0, -1]]) * dz * dy
    return float(front_and_back + left_and_right) / 100


def _noise(volume: Volume) -> tuple[str, ...]:
    noise_hu = noise_in_soft_tissue_hu(volume)
    if noise_hu <= NOISE_HU:
        return ()
    return (f"The images are very noisy ({noise_hu:.0f} HU): small and ground-glass nodules may have been missed.",)


def noise_in_soft_tissue_hu(volume: Volume) -> float:
    """Robust standard deviation of the difference of pixels two apart along a row, by sqrt 2; 0 without soft tissue."""
    rows = volume.hu[::2, ::4].astype(np.int32)
    left, right = rows[:, :, 0:-2:4], rows[:, :, 2::4]
    width = min(left.shape[2], right.shape[2])
    left, right = left[:, :, :width], right[:, :, :width]
    mean = (left + right) / 2
    differences = np.abs(left - right)[(mean > 0) & (mean < 100)]
    return float(np.median(differences)) / 0.6745 / np.sqrt(2) if differences.size else 0.0
