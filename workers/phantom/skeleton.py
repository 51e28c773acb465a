"""Bones and airways of the thorax as tubes."""

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
