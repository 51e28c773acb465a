"""A nodule is named by the densities inside its outline."""

import numpy as np
import pytest
import torch

from node.domain.finding import NoduleType
from tests.builders import Sphere, as_volume, spheres_hu
from workers.composition import composition, densities, inner_hu
from workers.networks.composition import Composition, CompositionConfig
from workers.training.composition import fit_composition
from workers.volume import Mask, Volume

SPACING = (1.25, 0.7, 0.7)
SHAPE = (40, 70, 70)


def ball(hu: float, diameter_mm: float = 12.0) -> tuple[Volume, Mask]:
    """A ball and its mask."""
    center = (25.0, 25.0, 25.0)
    volume = as_volume(spheres_hu(SHAPE, SPACING, [Sphere(center, diameter_mm, hu)], noise_hu=15.0), SPACING)
    return volume, Mask(inside(diameter_mm / 2), (0, 0, 0))


def inside(radius_mm: float) -> np.ndarray:
    """Voxels of the ball."""
    axes = [np.arange(n) * s - 25.0 for n, s in zip(SHAPE, SPACING, strict=True)]
    return np.asarray(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2 <= radius_mm**2)


@pytest.mark.parametrize("diameter_mm", [5.0, 8.0, 12.0, 20.0])
@pytest.mark.parametrize(
    ("hu", "kind"),
    [
        (40.0, NoduleType.SOLID),
        (120.0, NoduleType.SOLID),
        (-620.0, NoduleType.GROUND_GLASS),
        (500.0, NoduleType.CALCIFIED),
    ],
    ids=["solid", "contrast is no calcium", "ground glass", "calcified"],
)
def test_an_even_ball_is_what_its_density_says(hu: float, kind: NoduleType, diameter_mm: float) -> None:
    assert composition(*ball(hu, diameter_mm)) is kind


@pytest.mark.parametrize("core_mm", [6.0, 7.0, 8.0])
def test_a_solid_core_in_ground_glass_is_part_solid(core_mm: float) -> None:
    volume, mask = ball(-600.0)
    mixed = as_volume(np.where(inside(core_mm / 2), ball(30.0)[0].hu, volume.hu).astype(np.int16), SPACING)
    assert composition(mixed, mask) is NoduleType.PART_SOLID


def test_the_rim_does_not_dilute_the_density() -> None:
    volume, mask = ball(40.0)
    assert inner_hu(volume, mask).mean() > volume.hu[mask.voxels].mean() + 50
    seen = dict(zip(CompositionConfig().densities, densities(volume, mask).tolist(), strict=True))
    assert seen["mean_hu"] > volume.hu[mask.voxels].mean() + 50
    assert seen["log_diameter"] == pytest.approx(np.log(12), abs=0.03)
    assert seen["solid_share"] > 0.95


def test_a_mask_of_one_voxel_has_the_density_of_that_voxel() -> None:
    volume, _ = ball(40.0)
    one = Mask(np.ones((1, 1, 1), bool), (20, 36, 36))
    assert inner_hu(volume, one).tolist() == [volume.hu[20, 36, 36]]
    assert densities(volume, one)[[1, 3, 4, 5]].tolist() == [volume.hu[20, 36, 36]] * 4


def test_a_fit_is_the_same_wherever_it_starts_and_rare_types_count_as_much() -> None:
    rng = np.random.default_rng(0)
    kind = np.repeat([0, 1, 2], [300, 12, 60])
    seen = rng.normal(0, 1, (len(kind), 7)).astype(np.float32)
    seen[:, 1] += 3 * kind
    first, again = (fit_composition(seen, kind) for _ in range(2))
    assert isinstance(first, Composition)
    assert torch.equal(first.out.weight, again.out.weight)
    named = first(torch.from_numpy(seen)).argmax(dim=1).numpy()
    assert (named[kind == 1] == 1).mean() > 0.7
