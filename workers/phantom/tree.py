"""Branching trees that fill a lung: each branch halves its points and grows toward each half (Tawhai 2000)."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]

MURRAY_EXPONENT = 2.7
"""Parent radius to this power is the sum of the daughters' (measured in lung arteries: 2.3-3)."""

SEGMENTS = 3
"""Straight pieces that a bent branch is drawn in."""


@dataclass(frozen=True)
class Tree:
    """Straight tapered segments, mm."""

    start_zyx: Points
    """(n, 3)"""
    end_zyx: Points
    """(n, 3)"""
    start_radius: NDArray[np.float64]
    end_radius: NDArray[np.float64]
    generation: NDArray[np.int64]


@dataclass
class _Front:
    """The growing ends: one row a branch; `owner` gives each remaining point its row."""

    tip: Points
    direction: Points
    parent: NDArray[np.int64]
    branch: NDArray[np.int64]
    """Number of the branch that ends here; -1 at the root."""
    points: Points
    owner: NDArray[np.int64]


def grow(root_zyx: Points, direction_zyx: Points, points_zyx: Points, leaf_radius_mm: float, seed: list[int]) -> Tree:
    """Grow one tree from a root through a cloud of points (n, 3), mm."""
    rng = np.random.default_rng(seed)
    front = _Front(
        tip=root_zyx[None].astype(np.float64),
        direction=direction_zyx[None] / np.linalg.norm(direction_zyx),
        parent=np.array([-1]),
        branch=np.array([-1]),
        points=points_zyx.astype(np.float64),
        owner=np.zeros(len(points_zyx), np.int64),
    )
    grown: list[_Front] = []
    while (daughters := _split(front, sum(len(one.tip) for one in grown))) is not None:
        grown.append(daughters)
        front = _settle(daughters, rng)
    end = np.concatenate([one.tip for one in grown])
    parent = np.concatenate([one.parent for one in grown])
    generation = np.concatenate([np.full(len(one.tip), number) for number, one in enumerate(grown)])
    start = np.concatenate([one.tip - one.direction for one in grown])
    return _bent((start, end), _radii(parent, leaf_radius_mm), parent, generation, rng)


def _split(front: _Front, next_branch: int) -> _Front | None:
    """Halve each branch's points across its widest direction; one daughter toward each half."""
    n = len(front.tip)
    count = np.bincount(front.owner, minlength=n).astype(np.float64)
    if not (count > 1).any():
        return None
    center = _means(front.points, front.owner, count)
    offset = front.points - center[front.owner]
    along = np.einsum("ij,ij->i", offset, front.direction[front.owner])[:, None] * front.direction[front.owner]
    across = offset - 0.7 * along
    products = np.stack([np.bincount(front.owner, across[:, i] * across[:, j], n) for i in range(3) for j in range(3)])
    _, axes = np.linalg.eigh(products.T.reshape(n, 3, 3))
    above = np.einsum("ij,ij->i", offset, axes[front.owner, :, 2]) > 0
    daughter = 2 * front.owner + above
    alive, daughter = np.unique(daughter, return_inverse=True)
    size = np.bincount(daughter).astype(np.float64)
    toward = _means(front.points, daughter, size) - front.tip[alive // 2]
    step = toward * np.where(size > 1, 0.42, 0.9)[:, None]
    mother, numbers = alive // 2, next_branch + np.arange(len(alive))
    return _Front(front.tip[mother] + step, step, front.branch[mother], numbers, front.points, daughter)


def _settle(front: _Front, rng: np.random.Generator) -> _Front:
    """Drop the points of finished branches and make directions unit vectors."""
    size = np.bincount(front.owner, minlength=len(front.tip))
    length = np.linalg.norm(front.direction, axis=1)
    keep = ((size > 1) & (length > 1.0))[front.owner]
    direction = front.direction / np.maximum(length, 1e-6)[:, None] + 0.1 * rng.standard_normal(front.direction.shape)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    return _Front(front.tip, direction, front.parent, front.branch, front.points[keep], front.owner[keep])


def _means(points: Points, owner: NDArray[np.int64], count: NDArray[np.float64]) -> Points:
    sums = [np.bincount(owner, points[:, axis], len(count)) for axis in range(3)]
    return np.asarray(np.stack(sums, axis=1) / np.maximum(count, 1)[:, None])


def _radii(parent: NDArray[np.int64], leaf_radius_mm: float) -> NDArray[np.float64]:
    """Radius of each branch from the number of leaves behind it."""
    leaves = np.ones(len(parent))
    leaves[parent[parent >= 0]] = 0
    for child in range(len(parent) - 1, -1, -1):
        if parent[child] >= 0:
            leaves[parent[child]] += leaves[child]
    return np.asarray(leaf_radius_mm * np.maximum(leaves, 1) ** (1 / MURRAY_EXPONENT))


def _bent(
    ends: tuple[Points, Points],
    radius: NDArray[np.float64],
    parent: NDArray[np.int64],
    generation: NDArray[np.int64],
    rng: np.random.Generator,
) -> Tree:
    """Bend each branch along a parabola in a few segments, tapering from the parent's radius to its own."""
    start, end = ends
    way = end - start
    bulge = 0.12 * np.linalg.norm(way, axis=1, keepdims=True) * rng.standard_normal(start.shape)
    before = np.where(parent >= 0, np.minimum(radius[np.maximum(parent, 0)], 1.25 * radius), radius)
    along = np.linspace(0, 1, SEGMENTS + 1)
    points = [start + t * way + 4 * t * (1 - t) * bulge for t in along]
    radii = [before + min(1.5 * t, 1.0) * (radius - before) for t in along]
    return Tree(
        np.concatenate(points[:-1]),
        np.concatenate(points[1:]),
        np.concatenate(radii[:-1]),
        np.concatenate(radii[1:]),
        np.concatenate([generation] * SEGMENTS),
    )
