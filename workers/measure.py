"""Volume and mask in, sizes and key image out."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist, squareform
from skimage.measure import find_contours

from node.domain.finding import KeyImage, Measurements, PixelPoint, Point
from workers.volume import Mask, Volume

Points = NDArray[np.float64]

MAX_STEP_FOR_VOLUME_MM = 2.5
"""Volumes vary by 13-23 % (4 mm nodule) above this distance between slices (reference: spacing guard)."""
VOLUME_METHOD = "partial volume"
"""Inside the mask every voxel counts; at its rim each counts by its share of nodule between lung and nodule density."""
RIM_MM = 1.6
"""How far outside the mask the blur of the scanner carries nodule."""
SHELL_MM = (2.5, 5.0)
"""Where the density of the surrounding lung is taken (reference: volumetry)."""
LUNG_HU = (-1024, -500)
TYPICAL_LUNG_HU = -850.0


@dataclass(frozen=True)
class Measured:
    """What `measure` finds out about one mask."""

    center_lps_mm: Point
    """Centroid of the mask."""
    measurements: Measurements
    key_image: KeyImage
    voxel_volume_mm3: float
    """Number of voxels times voxel volume, whatever the slice spacing; far from `volume_mm3`, both are doubtful."""


def measure(volume: Volume, mask: Mask) -> Measured:
    """Measure a nodule on the native grid: axes on the axial slice where it is longest, volume, density.

    Axes are between pixel edges, so one voxel has the size of a voxel. `mask` must hold at least one voxel.
    """
    centroid = np.argwhere(mask.voxels).mean(axis=0) + mask.offset_zyx
    x, y, z = (float(value) for value in volume.to_lps_mm(centroid[None])[0])
    key_image = _key_image(volume, mask)
    long_mm, short_mm = (round(_length_mm(axis, volume), 1) for axis in (key_image.long_axis, key_image.short_axis))
    reliable = volume.spacing_zyx_mm[0] <= MAX_STEP_FOR_VOLUME_MM + 1e-3
    return Measured(
        center_lps_mm=(x, y, z),
        measurements=Measurements(
            mean_diameter_mm=round((long_mm + short_mm) / 2 + 1e-9, 1),
            long_axis_mm=long_mm,
            short_axis_mm=short_mm,
            volume_mm3=round(_volume_mm3(volume, mask), 1) if reliable else None,
            mean_hu=round(_mean_hu(volume, mask), 1),
        ),
        key_image=key_image,
        voxel_volume_mm3=float(np.count_nonzero(mask.voxels)) * float(np.prod(volume.spacing_zyx_mm)),
    )


def _key_image(volume: Volume, mask: Mask) -> KeyImage:
    """The slice with the longest axis, its outline and both axes in SCOORD pixels."""
    outlines = [(z, _outline(plane)) for z, plane in enumerate(mask.voxels) if plane.any()]
    pixel_mm = np.array([volume.spacing_zyx_mm[2], volume.spacing_zyx_mm[1]])
    lengths = [_longest(outline * pixel_mm)[2] for _, outline in outlines]
    z, outline = outlines[int(np.argmax(lengths))]
    first, second, _ = _longest(outline * pixel_mm)
    across = _widest_across(outline * pixel_mm, first, second) / pixel_mm
    shift = np.array([mask.offset_zyx[2], mask.offset_zyx[1]]) + 0.5
    index = z + mask.offset_zyx[0]
    source = volume.slices[index]
    return KeyImage(
        sop_instance_uid=source.sop_instance_uid,
        sop_class_uid=source.sop_class_uid,
        frame_number=source.frame_number,
        instance_number=source.instance_number,
        slice_index=index,
        outline=_pixels(outline + shift),
        long_axis=(_pixel(outline[first] + shift), _pixel(outline[second] + shift)),
        short_axis=(_pixel(across[0] + shift), _pixel(across[1] + shift)),
    )


def _outline(plane: NDArray[np.bool_]) -> Points:
    """Outer border of the largest piece on a slice, halfway between pixel centres: (n, 2) as column, row."""
    contours = find_contours(np.pad(plane, 1).astype(float), 0.5, fully_connected="high")
    areas = [abs(_signed_area(contour)) for contour in contours]
    largest: Points = contours[int(np.argmax(areas))][:-1, ::-1] - 1.0
    return largest


def _signed_area(points: Points) -> float:
    following = np.roll(points, -1, axis=0)
    return float((points[:, 0] * following[:, 1] - points[:, 1] * following[:, 0]).sum() / 2)


def _longest(points_mm: Points) -> tuple[int, int, float]:
    """Indices of the two points farthest apart, and their distance."""
    hull = ConvexHull(points_mm).vertices
    distances = squareform(pdist(points_mm[hull]))
    first, second = np.unravel_index(int(distances.argmax()), distances.shape)
    return int(hull[first]), int(hull[second]), float(distances.max())


def _widest_across(points_mm: Points, first: int, second: int) -> Points:
    """Ends (2, 2) of the widest extent of the outline perpendicular to the line between two of its points.

    The extent along a closed polygon is linear between vertices, so looking at each vertex is exact.
    """
    along = points_mm[second] - points_mm[first]
    along /= np.linalg.norm(along)
    turned = (points_mm - points_mm[first]) @ np.array([[along[0], -along[1]], [along[1], along[0]]])
    u, v = turned[:, 0], turned[:, 1]
    next_u, next_v = np.roll(u, -1), np.roll(v, -1)
    best = (-1.0, 0.0, 0.0, 0.0)
    for at in u:
        crossed = (np.minimum(u, next_u) <= at) & (at <= np.maximum(u, next_u))
        steps = np.where(next_u == u, 1.0, next_u - u)
        heights = (v + (next_v - v) * np.where(next_u == u, 0.0, (at - u) / steps))[crossed]
        low, high = min(heights.min(), v[u == at].min()), max(heights.max(), v[u == at].max())
        best = max(best, (high - low, at, low, high))
    _, at, low, high = best
    ends = np.array([[at, low], [at, high]]) @ np.array([[along[0], along[1]], [-along[1], along[0]]])
    across: Points = ends + points_mm[first]
    return across


def _length_mm(axis: tuple[PixelPoint, PixelPoint], volume: Volume) -> float:
    (column, row), (other_column, other_row) = axis
    _, dy, dx = volume.spacing_zyx_mm
    return float(np.hypot((column - other_column) * dx, (row - other_row) * dy))


def _pixels(points: Points) -> tuple[PixelPoint, ...]:
    return tuple(_pixel(point) for point in points)


def _pixel(point: Points) -> PixelPoint:
    return float(point[0]), float(point[1])


def _eroded(voxels: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask without its outermost voxels; in the plane only, then not at all, where nothing would be left."""
    for structure in (ndimage.generate_binary_structure(3, 1), ndimage.generate_binary_structure(2, 1)[None]):
        core: NDArray[np.bool_] = ndimage.binary_erosion(voxels, structure)
        if core.any():
            return core
    return voxels


def _mean_hu(volume: Volume, mask: Mask) -> float:
    box = tuple(slice(start, start + size) for start, size in zip(mask.offset_zyx, mask.voxels.shape, strict=True))
    return float(volume.hu[box][_eroded(mask.voxels)].mean())


def _volume_mm3(volume: Volume, mask: Mask) -> float:
    """Sum of voxels, those at the rim by partial volume: (HU - lung) / (nodule nearby - lung).

    Voxels outside the mask count only up to one half: denser ones are vessel or wall, which the mask left out.
    """
    hu, voxels = _surroundings(volume, mask)
    spacing = volume.spacing_zyx_mm
    outside_mm = ndimage.distance_transform_edt(~voxels, spacing)
    shell = (outside_mm >= SHELL_MM[0]) & (outside_mm <= SHELL_MM[1]) & (hu > LUNG_HU[0]) & (hu < LUNG_HU[1])
    lung = float(np.median(hu[shell])) if np.count_nonzero(shell) >= 20 else TYPICAL_LUNG_HU
    core = _eroded(voxels)
    contrast = _nearby_mean(hu, core, spacing) - lung
    share = (hu - lung) / np.maximum(contrast, 50.0)
    rim_inside = voxels & ~core
    at_least_a_slice = tuple(min(step, RIM_MM) for step in spacing)
    near = ndimage.distance_transform_edt(~voxels, at_least_a_slice) <= RIM_MM
    rim_outside = ~voxels & near & (share <= 0.5)
    count = np.count_nonzero(core) + share[rim_inside].sum() + share[rim_outside].sum()
    return float(count * np.prod(spacing))


def _surroundings(volume: Volume, mask: Mask) -> tuple[Points, NDArray[np.bool_]]:
    """HU and mask on the mask's box, widened by the shell as far as the volume reaches."""
    margin = [int(np.ceil(SHELL_MM[1] / spacing)) for spacing in volume.spacing_zyx_mm]
    low = [max(0, start - size) for start, size in zip(mask.offset_zyx, margin, strict=True)]
    ends = np.add(mask.offset_zyx, mask.voxels.shape)
    high = [min(int(end) + size, full) for end, size, full in zip(ends, margin, volume.hu.shape, strict=True)]
    hu = volume.hu[tuple(map(slice, low, high))].astype(np.float64)
    voxels = np.zeros(hu.shape, bool)
    inner = tuple(slice(s - b, s - b + n) for s, b, n in zip(mask.offset_zyx, low, mask.voxels.shape, strict=True))
    voxels[inner] = mask.voxels
    return hu, voxels


def _nearby_mean(hu: Points, core: NDArray[np.bool_], spacing_zyx_mm: tuple[float, float, float]) -> Points:
    """For every voxel: mean HU of the core around its nearest core voxel, so that mixed nodules keep both densities."""
    weight = ndimage.uniform_filter(core.astype(float), 3)
    mean = ndimage.uniform_filter(np.where(core, hu, 0.0), 3) / np.maximum(weight, 1e-6)
    nearest = ndimage.distance_transform_edt(~core, spacing_zyx_mm, return_distances=False, return_indices=True)
    near: Points = mean[tuple(nearest)]
    return near
