"""Bones, airways and great vessels of the thorax as tubes."""

import numpy as np

from workers.phantom.anatomy import LEFT, RIGHT, Build
from workers.phantom.paint import path
from workers.phantom.tree import Tree

RIB_PAIRS = 11


def ribs(build: Build) -> list[Tree]:
    """One tube a rib, from the spine around the chest, falling toward the front."""
    rng = np.random.default_rng([build.seed, 3])
    tubes = []
    for pair in range(RIB_PAIRS):
        back = build.height * (1.02 - pair * rng.uniform(0.118, 0.124))
        fall = build.height * rng.uniform(0.24, 0.32) * (0.5 + 0.5 * min(pair, 6) / 6)
        for sign in (-1, 1):
            angle = np.linspace(0.12, 2.55 if pair < 8 else 1.9, 30)
            z = back - fall * (1 - np.cos(angle)) / 2
            half_x, half_y = build.cavity_half_axes(z.astype(np.float32))
            outward = 5.0 + 0.1 * build.wall
            x = sign * (half_x + outward) * np.abs(np.sin(angle)) ** 0.87
            y = (half_y + outward) * np.sign(np.cos(angle)) * np.abs(np.cos(angle)) ** 0.87
            points = np.stack([z, y, x], axis=1).astype(np.float64)
            tubes.append(path(points, np.full(len(points), rng.uniform(4.2, 5.6))))
    return tubes


def spine(build: Build) -> tuple[list[Tree], list[Tree]]:
    """Vertebral bodies with their arches, and the discs between them."""
    bodies, discs = [], []
    for z in np.arange(-120, build.height + 90, 24.0):
        middle = np.array([z, build.spine_y + 3, 0.0])
        for x in (-7, 7):
            bodies.append(path(middle + np.array([[-6, 0, x], [6, 0, x]]), np.full(2, 13.0)))
        discs.append(path(middle + np.array([[12, 0, -6], [12, 0, 6]]), np.full(2, 13.0)))
        for sign in (-1, 1):
            arch = np.array([[0, 12, 9], [2, 22, 15], [3, 26, 30]]) * [1, 1, sign]
            bodies.append(path(middle + arch, np.array([4.5, 5.5, 4.0])))
            lamina = np.array([[2, 22, 13], [-4, 31, 0], [-14, 41, 0]]) * [1, 1, sign]
            bodies.append(path(middle + lamina, np.array([3.5, 4.0, 3.5])))
    return bodies, discs


def front_bones(build: Build) -> list[Tree]:
    """Sternum, clavicles and shoulder blades."""
    tubes = []
    for offset in (-9.0, 0.0, 9.0):
        z = np.linspace(0.25, 0.86, 8) * build.height
        _, half_y = build.cavity_half_axes(z.astype(np.float32))
        points = np.stack([z, -(half_y + 7.0), np.full(8, offset)], axis=1)
        tubes.append(path(points.astype(np.float64), np.full(8, 5.0)))
    for sign in (-1, 1):
        top, width, depth = build.height, build.half_width, build.half_depth
        clavicle = np.array([[0.88 * top, -0.62 * depth, 18], [0.97 * top, -0.55 * depth, 0.6 * width]])
        tubes.append(path(clavicle * [1, 1, sign], np.array([7.0, 5.5])))
        blade_top = np.array([1.0 * top, 0.66 * depth + 12, (0.72 * width + 8) * sign])
        for lean in np.linspace(0, 30, 6):
            tip = np.array([0.5 * top, 0.86 * depth + 12 + lean / 8, (0.5 * width + lean) * sign])
            tubes.append(path(np.stack([blade_top, tip]), np.array([3.0, 2.5])))
    return tubes


def airways(build: Build) -> tuple[Tree, dict[int, tuple[np.ndarray, np.ndarray]]]:
    """Trachea and main bronchi; and for each lung the end of its main bronchus and its direction."""
    _, y, _ = build.carina_zyx
    carina = np.array(build.carina_zyx)
    trachea = np.array([[build.height + 60, y - 16, 2.0], [0.85 * build.height, y - 5, 1.0], carina])
    parts = [path(trachea, np.array([8.8, 8.5, 8.2]))]
    ends = {}
    for side in (RIGHT, LEFT):
        hilum = np.array(build.hilum_zyx(side)) + np.array([4.0, 4.0, 0.0])
        parts.append(path(np.stack([carina, (carina + hilum) / 2 + [-3, 0, 0], hilum]), np.array([7.5, 6.2, 5.6])))
        ends[side] = (hilum, hilum - carina)
    joined = [np.concatenate([getattr(part, name) for part in parts]) for name in Tree.__dataclass_fields__]
    return Tree(*joined), ends


def great_vessels(build: Build) -> list[Tree]:
    """Aorta with its arch and branches, caval and brachiocephalic veins, pulmonary trunk and main arteries."""
    rng = np.random.default_rng([build.seed, 14])
    h, d, wide = build.height, build.half_depth, rng.uniform(0.85, 1.2)
    lines: list[tuple[list[list[float]], list[float]]] = [
        (
            [
                [0.38, -0.02, 2],
                [0.55, -0.2, -10],
                [0.64, -0.16, -9],
                [0.71, 0.08, 3],
                [0.68, 0.36, 15],
                [0.6, 0.56, 21],
            ],
            [14, 15, 14.5, 13, 12, 11.5],
        ),
        ([[0.6, 0.56, 21], [0.3, 0.62, 22], [-0.4, 0.66, 12]], [11.5, 11, 10]),
        ([[0.34, -0.06, -22], [0.6, -0.16, -23], [0.82, -0.2, -22]], [10, 8.5, 7.5]),
        ([[0.82, -0.2, -22], [0.86, -0.36, 0], [0.93, -0.42, 32]], [7, 6, 6]),
        ([[0.82, -0.2, -22], [0.96, -0.36, -36]], [7, 6.5]),
        ([[0.7, 0.0, -2], [0.95, -0.16, -22]], [6, 5]),
        ([[0.72, 0.1, 5], [1.05, 0.02, 22]], [4, 4]),
        ([[0.71, 0.2, 9], [1.05, 0.16, 34]], [5, 4.5]),
        ([[0.4, -0.32, 20], [0.52, -0.18, 15], [0.56, 0.06, 10]], [14, 13, 11]),
        ([[0.5, 0.1, -4], [0.34, 0.16, -30]], [9, 6.5]),
        ([[0.36, 0.18, 6], [0.32, 0.24, 34]], [9, 6.5]),
    ]
    tubes = []
    for points, radii in lines:
        middle = np.array(points) * [h, d, 1.0] + rng.normal(0, 1.5, 3)
        tubes.append(path(middle, wide * np.array(radii)))
    for side, drop in ((RIGHT, 0.54), (LEFT, 0.56)):
        hilum = np.array(build.hilum_zyx(side))
        start = np.array([drop * h, 0.06 * d, 4.0 if side == RIGHT else 12.0])
        bend = (start + hilum) / 2 + [3.0, -3.0, 0.0]
        tubes.append(path(np.stack([start, bend, hilum]), wide * np.array([10.5, 9.5, 8.0])))
    return tubes


def esophagus(build: Build) -> Tree:
    """Behind the trachea and the heart, a little to the left."""
    x = np.array([1.0, 4.0, 8.0, 14.0])
    z, y = np.array([1.2, 0.7, 0.3, -0.3]) * build.height, np.array([0.36, 0.42, 0.46, 0.4]) * build.half_depth
    return path(np.stack([z, y, x], axis=1), np.array([6.0, 7.0, 7.5, 8.0]))
