"""Tubes into a voxel image, with partial volume at their rims."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workers.phantom.grid import Grid, Image
from workers.phantom.tree import Tree

AT_ONCE = 1 << 18
"""Voxels evaluated together: as many as a processor's cache holds a few images of."""
BOX_SIZES = np.array([2, 4, 6, 8, 10, 12, 16, 20, 24, 32, 40, 48, 64, 96, 128, 192, 256, 384, 512, 1024])
"""Segments are evaluated in boxes of these edges, so that many have the same."""
FAINT = 1 / 512


@dataclass(frozen=True)
class Cover:
    """What tubes fill of an image; a voxel may come several times, the largest share counts."""

    index: NDArray[np.int64]
    """(n,) into the flat image."""
    share: NDArray[np.float32]
    """(n,) above 0, up to 1."""


def tubes(grid: Grid, tree: Tree) -> Cover:
    """The share of each voxel that the tree's segments fill."""
    pieces = _short(tree)
    found = [_capsules(grid, one, low, size) for one, low, size in _alike(grid, pieces)]
    if not found:
        return Cover(np.zeros(0, np.int64), np.zeros(0, np.float32))
    return Cover(np.concatenate([one.index for one in found]), np.concatenate([one.share for one in found]))


def blend(image: Image, cover: Cover, value: float, scratch: Image, within: Image | None = None) -> None:
    """Mix a value into the image (z, y, x) as far as it is covered, and `within` another image's shares.

    `scratch` is an image of zeros of the same shape, which it is again afterwards: making one each time takes longer.
    """
    flat, index = image.reshape(-1), cover.index
    before = flat[index]
    flat[index] = before + _weights(cover, scratch, within) * (np.float32(value) - before)


def brighten(
    image: Image, cover: Cover, value: float, scratch: Image, within: Image | None = None
) -> NDArray[np.int64]:
    """As `blend`, but what is brighter already stays as it is. Returns the voxels that changed, of the flat image."""
    flat, index = image.reshape(-1), cover.index
    before = flat[index]
    change = _weights(cover, scratch, within) * np.maximum(np.float32(value) - before, 0)
    flat[index] = before + change
    return np.asarray(index[change > 1])


def _weights(cover: Cover, scratch: Image, within: Image | None) -> Image:
    share = scratch.reshape(-1)
    np.maximum.at(share, cover.index, cover.share)
    weight = share[cover.index]
    share[cover.index] = 0
    if within is not None:
        weight *= reached(within.reshape(-1)[cover.index])
    return np.asarray(weight)


def reached(lung_share: Image) -> Image:
    """How much of what is drawn in lung shows at its rim: nearly all, or a line of air would part it from the wall."""
    return np.asarray(np.minimum(lung_share * np.float32(6), 1))


def _short(tree: Tree) -> Tree:
    """The same tubes in pieces about as long as wide: a box around a long, slanting one is nearly empty."""
    length = np.linalg.norm(tree.end_zyx - tree.start_zyx, axis=1)
    count = np.ceil(length / (4 * np.maximum(tree.start_radius, tree.end_radius) + 4)).astype(int)
    count = np.maximum(count, 1)
    owner = np.repeat(np.arange(len(count)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    first, last = number / count[owner], (number + 1) / count[owner]
    way = (tree.end_zyx - tree.start_zyx)[owner]
    wider = (tree.end_radius - tree.start_radius)[owner]
    start, radius = tree.start_zyx[owner], tree.start_radius[owner]
    return Tree(
        start + first[:, None] * way,
        start + last[:, None] * way,
        radius + first * wider,
        radius + last * wider,
        tree.generation[owner],
    )


def _alike(grid: Grid, tree: Tree) -> Iterator[tuple[Tree, NDArray[np.int64], NDArray[np.int64]]]:
    """Segments whose boxes have one size, a few at a time, with the boxes' first voxels (n, 3) and their size (3,)."""
    shape = np.array(grid.shape_zyx)
    reach = np.maximum(tree.start_radius, tree.end_radius)[:, None] + float(np.mean(grid.spacing_zyx_mm))
    low = np.floor(grid.index(np.minimum(tree.start_zyx, tree.end_zyx) - reach)).astype(int)
    high = np.ceil(grid.index(np.maximum(tree.start_zyx, tree.end_zyx) + reach)).astype(int) + 1
    low, high = np.maximum(low, 0), np.minimum(high, shape)
    seen = np.flatnonzero((low < high).all(axis=1))
    size = np.minimum(BOX_SIZES[np.searchsorted(BOX_SIZES, high[seen] - low[seen])], shape)
    low = np.minimum(low[seen], shape - size)
    sizes, group = np.unique(size, axis=0, return_inverse=True)
    for number, edges in enumerate(sizes):
        members = np.flatnonzero(group.reshape(-1) == number)
        portions = min(len(members), -(-len(members) * int(edges.prod()) // AT_ONCE))
        for some in np.array_split(members, portions):
            yield _chosen(tree, seen[some]), low[some], edges


def _chosen(tree: Tree, which: NDArray[np.int64]) -> Tree:
    return Tree(*(getattr(tree, name)[which] for name in Tree.__dataclass_fields__))


def _capsules(grid: Grid, tree: Tree, low: NDArray[np.int64], size: NDArray[np.int64]) -> Cover:
    """Tapered capsules in boxes of one size; thinner than a voxel, they dim by their cross-section.

    A disc whose rim falls off linearly over `soft` around the radius R has the area of one of R^2 + soft^2 / 12.
    """
    soft = np.float32(np.mean(grid.spacing_zyx_mm))
    axis = (tree.end_zyx - tree.start_zyx).astype(np.float32)
    length2 = np.maximum((axis * axis).sum(axis=1), 1e-6)
    corner = np.asarray(grid.origin_zyx_mm) + low * np.asarray(grid.spacing_zyx_mm) - tree.start_zyx
    at = [
        (corner[:, k, None] + np.arange(n) * grid.spacing_zyx_mm[k]).astype(np.float32).reshape(_column(k, len(low)))
        for k, n in enumerate(size)
    ]
    wide = [c[:, None, None, None] for c in (*axis.T, length2, tree.start_radius.astype(np.float32))]
    taper = (tree.end_radius - tree.start_radius).astype(np.float32)[:, None, None, None]
    projection = (at[0] * wide[0] + at[1] * wide[1]) + at[2] * wide[2]
    distance = (at[0] * at[0] + at[1] * at[1]) + at[2] * at[2]
    along = np.clip(projection / wide[3], 0, 1)
    projection *= 2
    projection -= along * wide[3]
    projection *= along
    distance -= projection
    np.sqrt(np.maximum(distance, 0, out=distance), out=distance)
    radius = np.multiply(along, taper, out=along)
    radius += wide[4]
    radius *= radius
    shown = np.sqrt(np.maximum(radius - soft * soft / 12, soft * soft / 4))
    share = np.clip((shown - distance) / soft + np.float32(0.5), 0, 1)
    share *= np.minimum(radius * (3 / (soft * soft)), 1)
    number, z, y, x = np.nonzero(share > FAINT)
    _, rows, columns = grid.shape_zyx
    index = ((low[number, 0] + z) * rows + low[number, 1] + y) * columns + low[number, 2] + x
    return Cover(index, share[number, z, y, x])


def _column(axis: int, count: int) -> tuple[int, ...]:
    """Shape that lets (count, n) vary along one of three axes."""
    shape = [count, 1, 1, 1]
    shape[axis + 1] = -1
    return tuple(shape)


def path(points_zyx: NDArray[np.float64], radii: NDArray[np.float64]) -> Tree:
    """A tube through points (n, 3) with a radius at each, as the segments between them."""
    count = len(points_zyx) - 1
    return Tree(points_zyx[:-1], points_zyx[1:], radii[:-1], radii[1:], np.zeros(count, np.int64))


def joined(trees: list[Tree]) -> Tree:
    """Several trees as one."""
    fields = [np.concatenate([getattr(tree, name) for tree in trees]) for name in Tree.__dataclass_fields__]
    return Tree(*fields)
