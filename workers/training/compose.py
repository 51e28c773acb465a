"""Training patches: a background, nodules put into it, and a scanner's thickness, kernel and noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage

from workers.networks.patches import Line, Lines, filtered, sample
from workers.phantom.grid import gaussian_weights, linear_weights, slab_weights
from workers.phantom.nodules import Attachment, random_diameter
from workers.training.backgrounds import Background
from workers.training.insert import insert_drawn, insert_real
from workers.training.patch import Ball, Patch, Plan
from workers.training.real import RealNodule
from workers.training.targets import FINE

Image = NDArray[np.float32]


@dataclass(frozen=True)
class Mix:
    """How patches are mixed; probabilities unless said otherwise."""

    empty: float = 0.15
    real_background: float = 0.5
    drawn_in_phantom: float = 0.6
    """A nodule in a phantom is drawn rather than real."""
    drawn_in_real: float = 0.25
    as_common: float = 0.5
    """A drawn nodule has a diameter as common as in LUNA16; the others are larger, which that makes too rare."""
    context: float = 0.3
    """A real nodule brings its whole surroundings along."""
    mass: float = 0.1
    hard: float = 0.4
    """The patch is centred where an earlier checkpoint fired on nothing."""
    most: int = 3
    """Nodules in a patch, count."""


@dataclass(frozen=True)
class Bank:
    """Everything patches are made of."""

    nodules: Sequence[RealNodule]
    phantoms: Sequence[Background]
    lungs: Sequence[Background]
    mix: Mix = field(default_factory=Mix)
    hard: Mapping[str, NDArray[np.int16]] = field(default_factory=dict)
    """Name of a background to points (n, 3) where an earlier checkpoint fired on nothing."""


def compose(bank: Bank, edge: int, spacing_mm: float, rng: np.random.Generator) -> Patch:
    """Make one patch of `edge` cubed voxels with nodules at random places."""
    background = choose_background(bank, rng)
    lines, scale = _place(background, bank, edge, spacing_mm, rng)
    plans = [] if rng.random() < bank.mix.empty else _plan(bank, background, (lines, scale), rng)
    return fill(background, lines, spacing_mm, plans, rng)


def choose_background(bank: Bank, rng: np.random.Generator) -> Background:
    """A real lung or a phantom, as the mix says."""
    use_real = bool(bank.lungs) and (not bank.phantoms or rng.random() < bank.mix.real_background)
    pool = bank.lungs if use_real else bank.phantoms
    shares = np.array([one.share for one in pool])
    return pool[int(rng.choice(len(pool), p=shares / shares.sum()))]


def fill(
    background: Background, lines: Lines, spacing_mm: float, plans: Sequence[Plan], rng: np.random.Generator
) -> Patch:
    """Cut a patch out of a background, put the planned nodules in and scan it."""
    hu = sample(background.hu, lines).numpy()
    columns = lines[2].start + lines[2].step * np.arange(lines[2].count)
    forbidden = (columns < background.allowed_x[0]) | (columns > background.allowed_x[1])
    patch = Patch(hu, spacing_mm, [], np.broadcast_to(forbidden, hu.shape).copy(), np.zeros_like(hu))
    for plan in plans:
        if isinstance(plan.source, str):
            insert_drawn(patch, plan, rng, 0.8 if background.sharp else 1.8)
    if background.sharp:
        patch.hu = reconstructed(patch.hu, spacing_mm, rng)
    for plan in plans:
        if isinstance(plan.source, RealNodule):
            insert_real(patch, plan, rng)
    return mirrored(scanned(patch, background.sharp, rng), rng)


def _place(
    background: Background, bank: Bank, edge: int, spacing_mm: float, rng: np.random.Generator
) -> tuple[Lines, float]:
    """Choose where the patch lies on the background's 1 mm grid, and how much larger or smaller it is drawn."""
    scale = float(np.exp(rng.uniform(-0.15, 0.15)))
    step = spacing_mm * scale
    hard = bank.hard.get(background.name)
    centers = hard if hard is not None and len(hard) and rng.random() < bank.mix.hard else background.points
    center = centers[int(rng.integers(len(centers)))] + rng.uniform(-0.25, 0.25, 3) * edge * step
    half = step * (edge - 1) / 2
    highest = np.array(background.hu.shape) - 1 - half
    center = np.where(highest > half, np.clip(center, half, np.maximum(highest, half)), highest / 2 + half / 2)
    z, y, x = (Line.around(float(c), step, edge) for c in center)
    return (z, y, x), scale


def _plan(bank: Bank, background: Background, where: tuple[Lines, float], rng: np.random.Generator) -> list[Plan]:
    """Decide how many nodules, of what origin and size, and where they go, clear of each other."""
    lines, scale = where
    start, step = np.array([line.start for line in lines]), lines[0].step
    plans: list[Plan] = []
    spacing = step / scale
    for _ in range(int(rng.integers(1, bank.mix.most + 1))):
        plan = _one(bank, background, (start, step, spacing, lines[0].count), rng)
        if plan is not None and all(
            np.linalg.norm(plan.center_zyx - other.center_zyx) * spacing
            > 0.6 * (plan.diameter_mm + other.diameter_mm) + 6
            and not (plan.context or other.context)
            for other in plans
        ):
            plans.append(plan)
    return plans


def _one(
    bank: Bank,
    background: Background,
    where: tuple[NDArray[np.float64], float, float, int],
    rng: np.random.Generator,
) -> Plan | None:
    start, step, spacing, edge = where
    source, diameter = _source(bank, background.sharp, rng)
    context = isinstance(source, RealNodule) and diameter < 25 and rng.random() < bank.mix.context
    attachment: Attachment = ("isolated", "vessel", "pleura")[int(rng.choice(3, p=[0.4, 0.3, 0.3]))]
    if isinstance(source, RealNodule) and attached(source):
        attachment = "pleura"
    points = background.points if attachment != "vessel" else background.vessels
    depth = background.depth_mm if attachment != "vessel" else np.full(len(points), 99.0)
    local = (points - start) / step
    fits = ((local > 6) & (local < edge - 7)).all(axis=1)
    if attachment == "pleura":
        fits &= depth < 0.35 * diameter + 1
    elif diameter < 25 and not context:
        fits &= depth > 0.5 * diameter + 1
    found = np.flatnonzero(fits)
    if not len(found):
        return None
    center = local[found[int(rng.integers(len(found)))]]
    if attachment == "vessel":
        away = rng.standard_normal(3)
        center = center + away / np.linalg.norm(away) * rng.uniform(0.1, 0.5) * diameter / spacing
    return Plan(np.asarray(center, dtype=np.float64), diameter, attachment, source, context)


def _source(bank: Bank, sharp: bool, rng: np.random.Generator) -> tuple[RealNodule | str, float]:
    """A real nodule or "drawn", and the diameter it shall have."""
    drawn = not bank.nodules or rng.random() < (bank.mix.drawn_in_phantom if sharp else bank.mix.drawn_in_real)
    mass = rng.random() < bank.mix.mass
    target = float(np.exp(rng.uniform(np.log(24), np.log(85))))
    if drawn:
        return "drawn", target if mass else _drawn_mm(bank.mix, rng)
    large = [nodule for nodule in bank.nodules if nodule.diameter_mm >= 12] if mass else bank.nodules
    nodule = large[int(rng.integers(len(large)))]
    return nodule, target if mass else nodule.diameter_mm * float(np.exp(rng.normal(0, 0.15)))


def _drawn_mm(mix: Mix, rng: np.random.Generator) -> float:
    if rng.random() < mix.as_common:
        return random_diameter(FINE.smallest_mm, FINE.largest_mm, rng)
    return float(4 * (32 / 4) ** rng.beta(1.1, 1.9))


def attached(nodule: RealNodule) -> bool:
    """Whether a good part of a nodule's rim touches something dense: the chest wall, the mediastinum."""
    ring = ndimage.binary_dilation(nodule.touched, np.ones((1, 3, 3)), iterations=3) & ~nodule.touched
    return bool((nodule.hu[ring] > -250).mean() > 0.22)


def reconstructed(hu: Image, spacing_mm: float, rng: np.random.Generator) -> Image:
    """Blur as a smooth or sharp reconstruction kernel does, in plane."""
    blurry = gaussian_weights(hu.shape[1], float(rng.uniform(0.4, 0.9)) / spacing_mm)
    along_z = gaussian_weights(hu.shape[0], float(rng.uniform(0.3, 0.8)) / spacing_mm)
    return filtered(hu, (along_z, blurry, blurry))


def scanned(patch: Patch, sharp: bool, rng: np.random.Generator) -> Patch:
    """Edge enhancement, noise, slice thickness, and the errors of a scale."""
    hu, edge = patch.hu, patch.hu.shape[1]
    if rng.random() < 0.3:
        wide = gaussian_weights(edge, float(rng.uniform(0.8, 1.4)) / patch.spacing_mm)
        edges = hu - filtered(hu, (None, wide, wide))
        hu = np.asarray(hu + np.float32(rng.uniform(0.2, 0.9)) * edges, dtype=np.float32)
    noise = np.exp(rng.uniform(np.log(6), np.log(55))) if sharp else np.exp(rng.uniform(np.log(1), np.log(25)))
    grain = rng.standard_normal(hu.shape, dtype=np.float32)
    width = float(rng.uniform(0.3, 0.9)) / patch.spacing_mm
    fine = gaussian_weights(edge, width)
    gain = float((fine[edge // 2] ** 2).sum())
    hu = hu + np.float32(noise / gain) * filtered(grain, (None, fine, fine))
    along_z = _slices(edge, patch.spacing_mm, rng)
    if along_z is not None:
        hu = filtered(hu, (along_z, None, None))
    hu = hu * np.float32(rng.uniform(0.97, 1.03)) + np.float32(rng.uniform(-20, 20))
    patch.hu = np.clip(hu, -1024, 2000).astype(np.float32)
    return patch


def _slices(edge: int, spacing_mm: float, rng: np.random.Generator) -> Image | None:
    """(edge, edge) weights of cutting into thick slices and interpolating back; None for thin ones."""
    kind = rng.random()
    if kind < 0.35:
        return None
    thickness = float(rng.uniform(1.5, 3.0) if kind < 0.85 else rng.uniform(3.0, 5.0))
    return thick_slices(edge, spacing_mm, (thickness, thickness * float(rng.choice([1.0, 1.0, 0.7]))), rng.random())


def thick_slices(edge: int, spacing_mm: float, slices_mm: tuple[float, float], phase: float) -> Image:
    """(edge, edge) weights of averaging to slices of (thickness, step) mm and interpolating back."""
    thickness, step = slices_mm
    at = np.arange(edge) * spacing_mm
    slices = np.arange(-step * phase, at[-1] + step, step)
    slices = slices[(slices > at[0] - thickness / 3) & (slices < at[-1] + thickness / 3)]
    between, averaged = linear_weights(slices, at), slab_weights(at, slices, thickness)
    return np.asarray((torch.from_numpy(between) @ torch.from_numpy(averaged)).numpy(), dtype=np.float32)


def mirrored(patch: Patch, rng: np.random.Generator) -> Patch:
    """Mirror the patch, and sometimes exchange rows and columns."""
    edge = patch.hu.shape[0]
    axes = tuple(axis for axis, chance in enumerate((0.4, 0.3, 0.5)) if rng.random() < chance)
    swap = rng.random() < 0.3
    images: list[NDArray[Any]] = [np.flip(image, axes) for image in (patch.hu, patch.unknown, patch.share)]
    if swap:
        images = [np.swapaxes(image, 1, 2) for image in images]
    balls = []
    for ball in patch.balls:
        at = [edge - 1 - c if axis in axes else c for axis, c in enumerate(ball.center_zyx)]
        z, y, x = (at[0], at[2], at[1]) if swap else (at[0], at[1], at[2])
        balls.append(Ball((z, y, x), ball.diameter_mm, ball.type, ball.visible))
    hu, unknown, share = (np.ascontiguousarray(image) for image in images)
    return Patch(hu, patch.spacing_mm, balls, unknown, share)
