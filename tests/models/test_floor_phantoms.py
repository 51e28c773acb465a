"""The floor that the shipped models must reach on phantoms that took no part in training."""

import numpy as np
import pytest

from workers.classify import Judged, classify
from workers.detect import detect
from workers.evaluation.matching import Scored, Truth, match
from workers.evaluation.overlap import dice
from workers.lungs import segment_lungs
from workers.phantom import Phantom, Spec, chest
from workers.phantom.seeds import took_part
from workers.segment import segment
from workers.volume import Mask, SliceSource, Volume

SEEDS = (11, 12, 13, 14)
SMALLEST_MM = 8.0
FOUND_AT_LEAST, NODULES = 12, 16
MOST_FALSE_POSITIVES = 4
"""On average for one phantom."""


def spec(seed: int) -> Spec:
    return Spec(
        seed, nodules=4, matrix=256, step_mm=1.6, thickness_mm=1.6, smallest_mm=9.0, largest_mm=24.0, leaves=1500
    )


def volume_of(phantom: Phantom) -> Volume:
    sources = tuple(SliceSource(f"2.25.{z}", "1.2.840.10008.5.1.4.1.1.2", None, z) for z in range(len(phantom.hu)))
    return Volume(phantom.hu, phantom.grid.spacing_zyx_mm, phantom.grid.affine, sources)


@pytest.fixture(scope="module")
def read() -> list[tuple[Phantom, tuple[Judged, ...], tuple[Mask, ...]]]:
    every = []
    for seed in SEEDS:
        phantom = chest(spec(seed))
        volume = volume_of(phantom)
        found = classify(volume, detect(volume, segment_lungs(volume))).nodules
        every.append((phantom, found, segment(volume, found)))
    return every


def test_these_phantoms_took_no_part_in_training() -> None:
    assert not any(map(took_part, SEEDS))


def test_most_nodules_of_8_mm_and_more_are_found_with_few_false_positives(
    read: list[tuple[Phantom, tuple[Judged, ...], tuple[Mask, ...]]],
) -> None:
    matched = []
    for phantom, found, _ in read:
        truths = [Truth(n.center_lps_mm, n.diameter_mm, n.diameter_mm >= SMALLEST_MM) for n in phantom.nodules]
        matched.append(match(truths, [Scored(one.center_lps_mm, one.score) for one in found]))
    hits = [score for scan in matched for score in scan.hits]
    assert len(hits) == NODULES
    assert sum(score is not None for score in hits) >= FOUND_AT_LEAST
    assert sum(len(scan.false_positives) for scan in matched) <= MOST_FALSE_POSITIVES * len(SEEDS)


def test_masks_of_found_nodules_overlap_the_truth(
    read: list[tuple[Phantom, tuple[Judged, ...], tuple[Mask, ...]]],
) -> None:
    overlaps = []
    for phantom, found, masks in read:
        for nodule in phantom.nodules:
            truth = np.zeros(phantom.hu.shape, bool)
            at = np.argwhere(nodule.mask) + nodule.offset_zyx
            truth[tuple(at.T)] = True
            near = [
                mask
                for one, mask in zip(found, masks, strict=True)
                if np.linalg.norm(np.subtract(one.center_lps_mm, nodule.center_lps_mm)) <= nodule.diameter_mm / 2
            ]
            for mask in near[:1]:
                full = np.zeros(phantom.hu.shape, bool)
                full[tuple(slice(o, o + n) for o, n in zip(mask.offset_zyx, mask.voxels.shape, strict=True))] = (
                    mask.voxels
                )
                overlaps.append(dice(full, truth))
    assert np.mean(overlaps) > 0.7
