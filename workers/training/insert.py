"""One nodule into one patch: drawn, or real with a feathered rim or with all its surroundings."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from workers.networks.patches import Line, Lines, sample
from workers.phantom.nodules import random_shape, shares
from workers.training.patch import Ball, Patch, Plan
from workers.training.real import RealNodule

Image = NDArray[np.float32]
Box = tuple[slice, slice, slice]

HIDDEN_BELOW = 0.35
"""Share of its volume that must be seen for a nodule to count."""
LUNG_BELOW_HU = -350
"""A nodule is seen where the background was lung, or where it made it denser."""
PAD = 6
"""Slices repeated beyond the ends of a real nodule, so that its rim can fade."""


def insert_drawn(patch: Patch, plan: Plan, rng: np.random.Generator, soft_mm: float) -> None:
    """Draw a nodule as the phantom does, never darkening what is there."""
    center_mm = plan.center_zyx * patch.spacing_mm
    shape = random_shape([float(c) for c in center_mm], plan.diameter_mm, plan.attachment, rng)
    box = _box(patch, plan.center_zyx, (1.4 if shape.spicules else 0.85) * plan.diameter_mm + 3)
    if box is None:
        return
    at = [np.arange(part.start, part.stop, dtype=np.float32) * np.float32(patch.spacing_mm) for part in box]
    mesh = (at[0][:, None, None], at[1][None, :, None], at[2][None, None, :])
    share, density = shares(shape, mesh, soft_mm)
    before = patch.hu[box]
    after = np.maximum(before, before + share * (density - before))
    _note(patch, (plan, shape.type.value), box, share, (before < LUNG_BELOW_HU) | (after - before > 60))
    patch.hu[box] = after


def insert_real(patch: Patch, plan: Plan, rng: np.random.Generator) -> None:
    """Put a real nodule in, at the plan's size, mirrored at random."""
    nodule = plan.source
    assert isinstance(nodule, RealNodule)
    zoom = plan.diameter_mm / nodule.diameter_mm
    reach = 0.9 * plan.diameter_mm + 6 if not plan.context else 34.0 * zoom
    deep = (nodule.hu.shape[0] / 2 + 1) * nodule.spacing_zyx_mm[0] * zoom + 3
    box = _box(patch, plan.center_zyx, np.array([min(deep, reach + 8), reach, reach]))
    if box is None:
        return
    hu, mask, touched = _turned(nodule, rng)
    center = np.argwhere(mask[PAD:-PAD]).mean(axis=0) + np.array([PAD, 0, 0])
    lines = _lines(box, plan.center_zyx, center, patch.spacing_mm / (np.array(nodule.spacing_zyx_mm) * zoom))
    there = sample(hu, lines).numpy()
    inside = sample(mask, lines, 0.0).numpy()
    weight = _context(patch, nodule, zoom, lines) if plan.context else _rim(sample(touched, lines, 0.0).numpy(), patch)
    before = patch.hu[box]
    after = before + weight * (there - before)
    if not plan.context and plan.attachment != "isolated":
        after = np.maximum(before, after)
    alone = plan.context or plan.attachment == "isolated"
    _note(patch, (plan, nodule.type), box, inside, (before < LUNG_BELOW_HU) | (after - before > 60) | alone)
    patch.hu[box] = after
    if plan.context:
        _forget_edges(patch, box, weight, inside)


def _turned(nodule: RealNodule, rng: np.random.Generator) -> tuple[Image, Image, Image]:
    """The nodule's slices mirrored at random, with repeated slices beyond both ends; masks stop at the ends."""
    axes = tuple(axis for axis in range(3) if rng.random() < 0.5)
    hu, mask, touched = (np.flip(a.astype(np.float32), axes) for a in (nodule.hu, nodule.mask, nodule.touched))
    pad = ((PAD, PAD), (0, 0), (0, 0))
    return np.pad(hu, pad, mode="edge"), np.pad(mask, pad), np.pad(touched, pad)


def _lines(box: Box, at_zyx: NDArray[np.float64], center: NDArray[np.float64], step: NDArray[np.float64]) -> Lines:
    z, y, x = (
        Line(float(c + (part.start - a) * s), float(s), part.stop - part.start)
        for part, a, c, s in zip(box, at_zyx, center, step, strict=True)
    )
    return z, y, x


def _rim(touched: Image, patch: Patch) -> Image:
    """Weight 1 on the nodule, fading over about 2 mm outside."""
    soft = ndimage.gaussian_filter(touched, 1.3 / patch.spacing_mm, mode="constant")
    return np.clip(3 * np.maximum(soft, 0.34 * touched), 0, 1).astype(np.float32)


def _context(patch: Patch, nodule: RealNodule, zoom: float, lines: Lines) -> Image:
    """Weight 1 on the whole slices, fading at their edges and over 1.5 mm beyond the first and the last."""
    depth, height, width = nodule.hu.shape
    ramps = []
    for line, low, high, spacing, fade in zip(
        lines,
        (PAD - 0.5, 0, 0),
        (PAD + depth - 0.5, height - 1, width - 1),
        nodule.spacing_zyx_mm,
        (-1.5, 5.0, 5.0),
        strict=True,
    ):
        at = line.start + line.step * np.arange(line.count)
        inward = np.minimum(at - low, high - at) * spacing * zoom
        ramps.append(np.clip((inward - min(fade, 0)) / abs(fade), 0, 1).astype(np.float32))
    return ramps[0][:, None, None] * ramps[1][None, :, None] * ramps[2][None, None, :]


def _forget_edges(patch: Patch, box: Box, weight: Image, inside: Image) -> None:
    """Near the cut ends of the slices a vessel looks like a nodule: nothing may be learned there but the nodule."""
    margin = 6.0 / patch.spacing_mm
    middle = ndimage.distance_transform_edt(np.pad(weight > 0.99, 1))[1:-1, 1:-1, 1:-1] > margin
    touched = ndimage.binary_dilation(weight > 0, iterations=int(margin))
    own = ndimage.binary_dilation(inside > 0.5, iterations=2)
    patch.unknown[box] |= touched & ~middle & ~own


def _note(patch: Patch, what: tuple[Plan, str], box: Box, share: Image, shown: NDArray[np.bool_]) -> None:
    """Record the nodule by the part of it that can be seen."""
    plan, kind = what
    seen = share * shown
    np.maximum(patch.share[box], seen, out=patch.share[box])
    visible = float(seen.sum()) >= HIDDEN_BELOW * float(share.sum()) > 0
    diameter = plan.diameter_mm * (float(seen.sum()) / max(float(share.sum()), 1e-6)) ** (1 / 3)
    center = plan.center_zyx
    if visible:
        index = np.argwhere(seen > 0.5)
        center = index.mean(axis=0) + [part.start for part in box] if len(index) else center
    z, y, x = (float(c) for c in center)
    patch.balls.append(Ball((z, y, x), diameter if visible else plan.diameter_mm, kind, visible))


def _box(patch: Patch, center_zyx: NDArray[np.float64], reach_mm: float | NDArray[np.float64]) -> Box | None:
    """Voxels of the patch within reach of a point; None where the point lies outside."""
    edge = np.array(patch.hu.shape)
    if (center_zyx < 0).any() or (center_zyx > edge - 1).any():
        return None
    reach = np.asarray(reach_mm) / patch.spacing_mm
    low = np.maximum(np.floor(center_zyx - reach).astype(int), 0)
    high = np.minimum(np.ceil(center_zyx + reach).astype(int) + 1, edge)
    return slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])
