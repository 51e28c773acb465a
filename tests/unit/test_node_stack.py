"""domain/stack.py: how slices lie in space."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from node.domain.stack import stack_of
from tests.studies import frame

SAGITTAL = (0, 1, 0, 0, 0, -1)


def test_no_frames_are_no_stack() -> None:
    assert stack_of([]) is None


def test_one_slice_is_a_stack_without_a_step_and_never_gapless() -> None:
    stack = stack_of([frame(0)])
    assert stack is not None
    assert (stack.count, stack.step_mm, stack.coverage_mm, stack.gapless) == (1, 0.0, 0.0, False)


@given(st.permutations(range(12)), st.floats(0.4, 5.0), st.floats(-500, 500))
def test_order_of_arrival_and_place_do_not_matter(order: list[int], step_mm: float, start_mm: float) -> None:
    stack = stack_of([frame(start_mm + number * step_mm) for number in order])
    assert stack is not None
    assert stack.gapless
    assert stack.step_mm == pytest.approx(step_mm, abs=1e-6)
    assert stack.coverage_mm == pytest.approx(11 * step_mm, abs=1e-5)


@pytest.mark.parametrize(("offset_mm", "even"), [(0.12, True), (0.14, False), (-0.12, True), (-0.14, False)])
def test_a_step_may_differ_by_five_percent(offset_mm: float, even: bool) -> None:
    places = [number * 2.5 + (offset_mm if number == 5 else 0) for number in range(10)]
    stack = stack_of([frame(z) for z in places])
    assert stack is not None
    assert stack.even is even


@pytest.mark.parametrize(("offset_mm", "even"), [(0.045, True), (0.055, False)])
def test_thin_slices_may_differ_by_the_rounding_of_the_tag(offset_mm: float, even: bool) -> None:
    stack = stack_of([frame(number * 0.5 + (offset_mm if number == 5 else 0)) for number in range(10)])
    assert stack is not None
    assert stack.even is even


def test_a_missing_slice_is_no_gapless_stack() -> None:
    stack = stack_of([frame(number * 2.5) for number in range(20) if number != 7])
    assert stack is not None
    assert not stack.even
    assert not stack.gapless
    assert stack.step_mm == 2.5


def test_a_missing_end_slice_cannot_be_seen() -> None:
    stack = stack_of([frame(number * 2.5) for number in range(1, 20)])
    assert stack is not None
    assert stack.gapless


def test_two_images_at_one_place_are_counted_and_not_gapless() -> None:
    stack = stack_of([frame(z) for z in (0, 2.5, 2.5, 2.505, 5.0)])
    assert stack is not None
    assert stack.duplicate_positions == 2
    assert not stack.gapless
    assert stack.even


def test_a_tilted_gantry_shears_the_stack() -> None:
    shift = math.tan(math.radians(15))
    stack = stack_of([frame(z, y_mm=z * shift) for z in range(10)])
    assert stack is not None
    assert stack.sheared
    assert stack.gapless  # everything is there: it is whole, only not readable


@pytest.mark.parametrize(("degrees", "sheared"), [(0.5, False), (1.0, True)])
def test_half_a_degree_of_tilt_is_tolerated(degrees: float, sheared: bool) -> None:
    shift = math.tan(math.radians(degrees))
    stack = stack_of([frame(z, y_mm=z * shift) for z in range(10)])
    assert stack is not None
    assert stack.sheared is sheared


def test_slices_along_an_oblique_normal_are_not_sheared() -> None:
    angle = math.radians(20)
    orientation = (1, 0, 0, 0, math.cos(angle), math.sin(angle))
    normal = (0, -math.sin(angle), math.cos(angle))
    stack = stack_of([frame(n * 2 * normal[2], y_mm=n * 2 * normal[1], orientation=orientation) for n in range(10)])
    assert stack is not None
    assert not stack.sheared
    assert stack.step_mm == pytest.approx(2.0)
    assert stack.tilt_from_axial_deg == pytest.approx(20.0)


@given(st.tuples(*[st.floats(-0.4, 0.4)] * 3))
def test_a_stack_along_any_normal_is_gapless_and_upright(turns: tuple[float, float, float]) -> None:
    rotation = Rotation.from_euler("xyz", turns).as_matrix()
    row, column, normal = rotation.T
    frames = [frame(*(2.0 * n * normal)[[2, 0, 1]], orientation=(*row, *column)) for n in range(6)]
    stack = stack_of(frames)
    assert stack is not None
    assert stack.gapless
    assert not stack.sheared
    assert stack.step_mm == pytest.approx(2.0)
    assert stack.normal == pytest.approx(normal)
    assert stack.tilt_from_axial_deg == pytest.approx(math.degrees(math.acos(min(1.0, normal[2]))), abs=1e-4)


def test_two_slices_are_a_gapless_stack() -> None:
    stack = stack_of([frame(0), frame(1.25)])
    assert stack is not None
    assert stack.gapless
    assert (stack.step_mm, stack.coverage_mm) == (1.25, 1.25)


def test_sagittal_slices_stand_ninety_degrees_from_axial() -> None:
    stack = stack_of([frame(0, x_mm=x, orientation=SAGITTAL) for x in range(10)])
    assert stack is not None
    assert stack.tilt_from_axial_deg == pytest.approx(90.0)
    assert stack.step_mm == pytest.approx(1.0)


def test_mixed_orientations_are_not_parallel() -> None:
    stack = stack_of([frame(0), frame(1), frame(2, orientation=SAGITTAL)])
    assert stack is not None
    assert not stack.parallel
    assert not stack.gapless


def test_a_degenerate_orientation_does_not_raise() -> None:
    stack = stack_of([frame(z, orientation=(0, 0, 0, 0, 0, 0)) for z in range(3)])
    assert stack is not None
    assert not stack.gapless
