"""What became of each nodule: pairs, growth, what cannot be compared, and who is the same patient."""

from dataclasses import replace

import numpy as np
import pytest

from node.domain.finding import Finding, KeyImage, Measurements, NoduleType, Point, Side
from node.domain.prior import Person, Trend, Unmeasured, days_between, is_same_person, tracked
from tests.compared import GROWN, NEW, UNMEASURED
from workers.priors.compare import Limits, growth_of
from workers.priors.matching import pair
from workers.priors.nearby import Place
from workers.priors.reconstruction import Kernel, Reconstruction, difference, kernel_of

KEY = KeyImage("1", "2", None, 1, 0, (), ((0, 0), (1, 1)), ((0, 0), (1, 1)))
SOLID, GLASS = NoduleType.SOLID, NoduleType.GROUND_GLASS


def sizes(mm: float, volume_mm3: float | None = None) -> Measurements:
    return Measurements(mm, mm, mm, volume_mm3, 0.0)


def nodule(at: Point, type_: NoduleType = SOLID) -> Finding:
    return Finding(1, at, 0.9, type_, Side.LEFT, sizes(6.0), KEY)


def place(*at: float, likeness: float = 0.9) -> Place:
    return Place(np.array(at), likeness)


def test_each_nodule_is_paired_once_and_the_nearest_first() -> None:
    now, then = [nodule((0, 0, 0))] * 3, [nodule((4, 0, 0)), nodule((1, 0, 0))]
    pairs = pair(now, [place(0, 0, 0), place(2, 0, 0), place(50, 0, 0)], then)
    assert pairs.both == {0: 1, 1: 0}
    assert pairs.only_then == ()


@pytest.mark.parametrize(
    ("mm", "likeness", "is_pair"), [(10.0, 0.5, True), (10.1, 0.5, False), (15.0, 0.49, True), (15.1, 0.49, False)]
)
def test_how_far_apart_a_pair_may_lie_depends_on_how_surely_the_place_was_found(
    mm: float, likeness: float, is_pair: bool
) -> None:
    assert bool(pair([nodule((0, 0, 0))], [place(mm, 0, 0, likeness=likeness)], [nodule((0, 0, 0))]).both) is is_pair


def test_the_same_type_is_preferred_to_a_little_nearness() -> None:
    then = [nodule((2, 0, 0), GLASS), nodule((5, 0, 0))]
    assert pair([nodule((0, 0, 0))], [place(0, 0, 0)], then).both == {0: 1}
    then = [nodule((2, 0, 0), GLASS), nodule((7, 0, 0))]
    assert pair([nodule((0, 0, 0))], [place(0, 0, 0)], then).both == {0: 0}


@pytest.mark.parametrize(
    ("now_mm3", "trend"),
    [
        (374.9, Trend.STABLE),
        (375.0, Trend.INCREASED),
        (225.1, Trend.STABLE),
        (225.0, Trend.DECREASED),
        (523.0, Trend.INCREASED),
    ],
)
def test_a_volume_changes_by_a_quarter(now_mm3: float, trend: Trend) -> None:
    growth = growth_of(sizes(8.0, 300.0), sizes(9.0, now_mm3), Limits(90, 2.0))
    assert (growth.trend, growth.by_volume) == (trend, True)
    assert (growth.doubling_days is not None) is (trend is Trend.INCREASED)


def test_a_doubling_time_is_that_of_the_volumes_and_else_of_the_diameters() -> None:
    by_volume = growth_of(sizes(8.0, 300.0), sizes(9.6, 523.0), Limits(90, 2.0))
    assert by_volume.doubling_days == pytest.approx(112, abs=0.5)
    assert by_volume.volume_share == pytest.approx(0.743, abs=0.001)
    by_diameter = growth_of(sizes(8.0), sizes(10.0), Limits(90, 2.0))
    assert (by_diameter.trend, by_diameter.by_volume, by_diameter.volume_share) == (Trend.INCREASED, False, None)
    assert by_diameter.doubling_days == pytest.approx(93.2, abs=0.1)
    assert growth_of(sizes(8.0, 300.0), sizes(9.9), Limits(90, 2.0)).trend is Trend.STABLE


@pytest.mark.parametrize(
    ("one", "other", "why"),
    [
        (Reconstruction(1.0, 1.0, "B30F"), Reconstruction(1.25, 1.25, "BR40D"), None),
        (Reconstruction(1.0, 1.0, "B30F"), Reconstruction(1.5, 1.5, "B30F"), None),
        (Reconstruction(1.0, 1.0, "B30F"), Reconstruction(2.0, 1.0, "B30F"), Unmeasured.THICKNESS),
        (Reconstruction(None, 1.0, ""), Reconstruction(None, 2.5, ""), Unmeasured.THICKNESS),
        (Reconstruction(1.0, 1.0, "B30F"), Reconstruction(1.0, 1.0, "B70F"), Unmeasured.KERNEL),
        (Reconstruction(1.0, 1.0, "STANDARD"), Reconstruction(1.0, 1.0, "LUNG"), Unmeasured.KERNEL),
        (Reconstruction(1.0, 1.0, "SECRET"), Reconstruction(1.0, 1.0, "STANDARD"), Unmeasured.KERNEL),
        (Reconstruction(1.0, 1.0, "SECRET"), Reconstruction(1.0, 1.0, "SECRET"), None),
        (Reconstruction(1.0, 1.0, ""), Reconstruction(1.0, 1.0, "STANDARD"), Unmeasured.KERNEL),
    ],
)
def test_sizes_are_compared_on_alike_reconstructions_alone(
    one: Reconstruction, other: Reconstruction, why: Unmeasured | None
) -> None:
    assert difference(one, other) is why
    assert difference(other, one) is why


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("B31f", Kernel.SMOOTH),
        ("Bl57d", Kernel.SHARP),
        ("BONEPLUS", Kernel.SHARP),
        ("STANDARD", Kernel.SMOOTH),
        ("FC08", Kernel.SMOOTH),
        ("FC51", Kernel.SHARP),
        ("L", Kernel.SHARP),
        ("B", Kernel.SMOOTH),
        ("YA", Kernel.SHARP),
        ("whatever", None),
    ],
)
def test_kernels_are_known_by_their_makers_names(name: str, kind: Kernel | None) -> None:
    assert kernel_of(name) is kind


SOMEBODY = Person("4711", "SITE", "19600102", "M")


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"birth_date": ""}, True),
        ({"sex": ""}, True),
        ({"sex": "m"}, True),
        ({"patient_id": "4712"}, False),
        ({"patient_id": ""}, False),
        ({"issuer": "OTHER"}, False),
        ({"issuer": ""}, False),
        ({"birth_date": "19600103"}, False),
        ({"sex": "F"}, False),
    ],
)
def test_the_same_patient_has_the_same_id_of_the_same_issuer_and_no_contradiction(
    changes: dict[str, str], same: bool
) -> None:
    assert is_same_person(SOMEBODY, replace(SOMEBODY, **changes)) is same
    assert is_same_person(replace(SOMEBODY, **changes), SOMEBODY) is same


def test_nobody_without_an_id_is_the_same_patient() -> None:
    assert not is_same_person(replace(SOMEBODY, patient_id=" "), replace(SOMEBODY, patient_id=" "))


@pytest.mark.parametrize(
    ("earlier", "days"), [("20240202", 1), ("20240203", None), ("20240204", None), ("", None), ("2024", None)]
)
def test_an_earlier_exam_has_an_earlier_date(earlier: str, days: int | None) -> None:
    assert days_between(earlier, "20240203") == days


def test_a_matched_nodule_keeps_what_it_is_tracked_by() -> None:
    assert GROWN.earlier is not None
    assert UNMEASURED.earlier is not None
    untracked = replace(UNMEASURED, earlier=replace(UNMEASURED.earlier, tracking_uid=""))
    assert tracked((GROWN, untracked, NEW)) == {1: GROWN.earlier.tracking_uid}
