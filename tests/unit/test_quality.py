"""Which images are read, which with a limitation, and which not at all."""

from dataclasses import replace

import numpy as np
import pytest

from node.domain.finding import Side
from node.errors import BadInput
from tests.chests import Chest, chest
from tests.realdata import folder
from workers.lungs import segment_lungs
from workers.quality import check_quality, noise_in_soft_tissue_hu
from workers.volume import Volume, load_volume


def judged(volume: Volume) -> tuple[str, ...]:
    return check_quality(volume, segment_lungs(volume))


def healthy(noise_hu: float = 20.0) -> Volume:
    return chest(Chest(noise_hu=noise_hu))[0]


def test_a_whole_chest_at_normal_dose_has_no_limitation() -> None:
    assert judged(healthy()) == ()


def test_a_sharp_kernel_alone_is_no_limitation() -> None:
    assert judged(healthy(noise_hu=85)) == ()


def test_heavy_noise_is_named() -> None:
    (sentence,) = judged(healthy(noise_hu=135))
    assert "noisy" in sentence


@pytest.mark.parametrize(("part", "words"), [(slice(30, None), "bases"), (slice(None, 66), "tops")])
def test_lungs_that_were_not_scanned_whole_are_named(part: slice, words: str) -> None:
    volume = healthy()
    (sentence,) = judged(replace(volume, hu=volume.hu[part]))
    assert words in sentence


def test_a_short_scan_is_named() -> None:
    volume = healthy()
    sentences = judged(replace(volume, hu=volume.hu[28:72]))
    assert any("132 mm" in sentence for sentence in sentences)


def test_a_field_of_view_through_the_lung_is_named() -> None:
    volume = healthy()
    assert "The field of view cuts off part of the lungs." in judged(replace(volume, hu=volume.hu[:, :, 42:-42]))


def consolidated(side: Side, share: float) -> Volume:
    """A healthy chest with the lower part of one lung as dense as water."""
    volume, right, left = chest(Chest(noise_hu=20.0))
    lung = right if side is Side.RIGHT else left
    below = np.cumsum(lung.sum(axis=(1, 2))) <= share * lung.sum()
    hu = volume.hu.copy()
    hu[lung & below[:, None, None]] = 35
    return replace(volume, hu=hu)


@pytest.mark.parametrize("side", [Side.RIGHT, Side.LEFT])
def test_a_white_lung_was_not_assessed(side: Side) -> None:
    assert judged(consolidated(side, 1.0)) == (f"The {side} lung contains little or no air and was not assessed.",)


@pytest.mark.parametrize(("side", "other"), [(Side.RIGHT, "left"), (Side.LEFT, "right")])
def test_a_lung_that_is_half_dense_was_not_assessed_there(side: Side, other: str) -> None:
    sentence = f"The {side} lung is much smaller than the {other}: dense parts of it were not assessed."
    assert judged(consolidated(side, 0.5)) == (sentence,)


@pytest.mark.parametrize(("side", "share"), [(Side.RIGHT, 0.12), (Side.LEFT, 0.25)])
def test_lungs_that_differ_as_healthy_ones_do_are_no_limitation(side: Side, share: float) -> None:
    assert judged(consolidated(side, share)) == ()


@pytest.mark.parametrize(
    "wrong", [lambda hu: hu + 200, lambda hu: hu - 120, lambda hu: np.rint(hu * 0.75).astype(np.int16)]
)
def test_values_that_are_not_hounsfield_units_are_refused(wrong: object) -> None:
    volume = healthy()
    with pytest.raises(BadInput, match=r"Hounsfield|visible|chest"):
        judged(replace(volume, hu=np.clip(wrong(volume.hu), -1024, None)))  # type: ignore[operator]


def test_tilted_and_coronal_slices_are_refused() -> None:
    volume = healthy()
    angle = np.radians(15)
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    with pytest.raises(BadInput, match="tilted by 15 degrees"):
        judged(replace(volume, affine=turn @ volume.affine))


def test_a_body_with_too_little_lung_is_not_a_chest() -> None:
    volume = healthy()
    with pytest.raises(BadInput, match=r"not show a whole chest: 0\.\d litres"):
        judged(replace(volume, hu=volume.hu[:21]))


def test_noise_is_measured_in_hounsfield_units() -> None:
    assert noise_in_soft_tissue_hu(healthy(noise_hu=30)) == pytest.approx(30, rel=0.1)
    assert noise_in_soft_tissue_hu(replace(healthy(), hu=np.full((4, 40, 40), -1000, np.int16))) == 0


@pytest.mark.realdata
def test_a_head_is_not_a_chest() -> None:
    paths = sorted(folder("corpus/gantry-tilt").rglob("I*0"))
    volume = load_volume(paths)
    with pytest.raises(BadInput, match=r"lungs|chest"):
        judged(volume)
