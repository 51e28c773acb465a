"""Volume and mask to a nodule's composition: calcified, solid, part-solid or ground glass."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from node.domain.finding import NoduleType
from workers.networks.composition import Composition
from workers.networks.weights import ready
from workers.volume import Mask, Volume

CALCIFIED_HU, CALCIFIED_SHARE = 180, 0.35
"""A nodule is calcified where this share of its inner voxels is above; contrast rarely brings a nodule that far."""
SOLID_HU = -300
"""Voxels above, after a median filter in the plane, are solid tissue, not ground glass (reference: volumetry)."""
IN_PLANE = ndimage.generate_binary_structure(2, 1)[None]


def composition(volume: Volume, mask: Mask) -> NoduleType:
    """Type of a nodule: calcified by HU alone, else what its densities are most like.

    Raises WeightsError where the weights are not the recorded ones.
    """
    if float((inner_hu(volume, mask) > CALCIFIED_HU).mean()) >= CALCIFIED_SHARE:
        return NoduleType.CALCIFIED
    network = ready("composition")
    assert isinstance(network, Composition)
    with torch.inference_mode():
        logits = network(torch.from_numpy(densities(volume, mask))[None])[0]
    return NoduleType(network.config.types[int(logits.argmax())])


def densities(volume: Volume, mask: Mask) -> NDArray[np.float32]:
    """What a Composition sees of a nodule (7,): log of the diameter in mm of the ball of its volume; mean, SD, 5th,
    50th and 95th percentile in HU, and the share of solid tissue, of its voxels inside the rim."""
    hu, rim = _box(volume, mask), ndimage.binary_erosion(mask.voxels, IN_PLANE)
    inner = rim if rim.any() else mask.voxels
    inside = hu[inner].astype(np.float64)
    solid = ndimage.median_filter(hu, (1, 3, 3))[inner] > SOLID_HU
    diameter_mm = (6 / np.pi * np.count_nonzero(mask.voxels) * np.prod(volume.spacing_zyx_mm)) ** (1 / 3)
    low, median, high = np.percentile(inside, [5, 50, 95])
    seen = (np.log(diameter_mm), inside.mean(), inside.std(), low, median, high, solid.mean())
    return np.array(seen, dtype=np.float32)


def inner_hu(volume: Volume, mask: Mask) -> NDArray[np.int16]:
    """HU of the mask's voxels away from its rim; of all where nothing is left."""
    core = ndimage.binary_erosion(mask.voxels)
    used = core if core.any() else mask.voxels
    return np.asarray(_box(volume, mask)[used])


def _box(volume: Volume, mask: Mask) -> NDArray[np.int16]:
    """The part of the volume that the mask's box covers."""
    box = tuple(slice(o, o + n) for o, n in zip(mask.offset_zyx, mask.voxels.shape, strict=True))
    return volume.hu[box]
