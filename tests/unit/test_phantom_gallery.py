"""The gallery shows many phantoms and all of their nodules in one picture."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Typed
from workers.phantom import Phantom, Spec, chest, gallery
from workers.phantom.gallery import CHEST_PX, COLUMNS, NODULE_PX, TEXT_PX, Gallery

SPEC = Spec(6, nodules=3, matrix=96, step_mm=5.0, thickness_mm=5.0, leaves=100)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return chest(SPEC)


def test_a_phantom_has_two_views_and_a_tile_for_each_nodule(phantom: Phantom) -> None:
    one = Gallery()
    for _ in range(COLUMNS // 2 + 1):
        one.add(phantom)
    pixels = np.asarray(one.picture())
    assert pixels.shape == (2 * (CHEST_PX + TEXT_PX) + NODULE_PX + TEXT_PX, COLUMNS * CHEST_PX)
    nodules = pixels[-NODULE_PX:]
    filled = [nodules[:, k * NODULE_PX : (k + 1) * NODULE_PX].std() > 5 for k in range(2 * COLUMNS)]
    assert filled == [True] * 12
    second_row = pixels[CHEST_PX + 2 * TEXT_PX : 2 * (CHEST_PX + TEXT_PX)]
    assert second_row[:, : 2 * CHEST_PX].any() and not second_row[:, 2 * CHEST_PX :].any()


def test_a_nodule_is_in_the_middle_of_its_tile_and_lung_is_dark(phantom: Phantom) -> None:
    solid = max(phantom.nodules, key=lambda one: one.diameter_mm)
    alone = Gallery()
    alone.add(Phantom(phantom.spec, phantom.grid, phantom.hu, phantom.lungs, (solid,)))
    tile = np.asarray(alone.picture())[-NODULE_PX:, :NODULE_PX].astype(float)
    half = NODULE_PX // 2
    assert tile[half - 6 : half + 6, half - 6 : half + 6].mean() > np.percentile(tile, 30) + 20


def test_the_command_draws_a_picture_of_other_phantoms_for_each_seed(
    typed: Typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gallery, "PHANTOMS", 2)
    file = tmp_path / "many.png"
    small = ["--matrix", "96", "--step", "5", "--nodules", "2", "--decoys", "0"]
    code, said = typed("phantom", "--seed", "6", "--gallery", str(file), *small)
    assert code == 0
    assert f"2 phantoms and their nodules in {file}" in said
    with Image.open(file) as image:
        assert image.format == "PNG"
        pixels = np.asarray(image)
    first, second = (pixels[TEXT_PX:CHEST_PX, k * CHEST_PX : (k + 1) * CHEST_PX] for k in (0, 2))
    assert first.std() > 20 and not np.array_equal(first, second)


def test_a_folder_or_a_picture_is_asked_for_and_not_both(typed: Typed, tmp_path: Path) -> None:
    for more in ([], ["--out", str(tmp_path), "--gallery", str(tmp_path / "many.png")]):
        code, said = typed("phantom", "--seed", "6", *more)
        assert code == 1
        assert said.startswith("nodus: Give either --out")
    assert not list(tmp_path.iterdir())
