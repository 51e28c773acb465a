"""domain/comparison.py and workers/comparing.py: what two readings both found, and what only one of them."""

from dataclasses import replace

from node.domain.comparison import compare
from node.domain.finding import Finding, KeyImage, Measurements, NoduleType, Side
from workers.comparing import text

KEY = KeyImage("1.2", "1.3", None, 1, 0, (), ((0, 0), (0, 0)), ((0, 0), (0, 0)))


def at(x_mm: float, diameter_mm: float = 8.0, ordinal: int = 1) -> Finding:
    """A finding on a line."""
    size = Measurements(diameter_mm, diameter_mm, diameter_mm, None, 0.0)
    return Finding(ordinal, (x_mm, 0.0, 0.0), 0.9, NoduleType.SOLID, Side.LEFT, size, KEY)


def places(*pairs: tuple[Finding, Finding]) -> list[tuple[float, float]]:
    return [(one.center_lps_mm[0], other.center_lps_mm[0]) for one, other in pairs]


def test_two_are_at_the_same_place_within_the_radius_of_the_larger() -> None:
    assert places(*compare([at(0)], [at(4)]).both) == [(0, 4)]
    assert compare([at(0)], [at(4.1)]).both == ()
    assert places(*compare([at(0)], [at(4.1, diameter_mm=20)]).both) == [(0, 4.1)]


def test_what_only_one_has_is_told_of_that_one() -> None:
    found = compare([at(0), at(50)], [at(1), at(100)])
    assert (found.only_first, found.only_second) == ((at(50),), (at(100),))


def test_each_is_paired_once_with_the_nearest() -> None:
    found = compare([at(0), at(3)], [at(2.5)])
    assert places(*found.both) == [(3, 2.5)]
    assert found.only_first == (at(0),)


def test_neither_order_nor_side_changes_what_is_the_same() -> None:
    first, second = [at(0), at(3), at(40)], [at(2.5), at(1), at(80)]
    found, turned = compare(first, second), compare(second[::-1], first[::-1])
    assert {(a.center_lps_mm, b.center_lps_mm) for a, b in found.both} == {
        (b.center_lps_mm, a.center_lps_mm) for a, b in turned.both
    }
    assert (found.only_first, found.only_second) == (turned.only_second, turned.only_first)


def test_readings_without_findings_have_nothing_in_common() -> None:
    assert compare([], []).both == ()
    assert compare([at(0)], []).only_first == (at(0),)
    assert compare([], [replace(at(0), ordinal=2)]).only_second[0].ordinal == 2


ROW = {
    "study_instance_uid": "1.2.3", "shadow": "theirs", "job": 1, "outcome": "findings", "model": "detector 1",
    "shadow_job": 2, "shadow_outcome": "findings", "shadow_model": "detector theirs 2", "found": 3,
    "found_in_shadow": 2, "same_place": 1, "both": [{"reading": "N1", "shadow": "N2"}],
    "only_reading": [{"finding": "N2", "summary": "solid nodule"}, {"finding": "N3", "summary": "calcified nodule"}],
    "only_shadow": [{"finding": "N1", "summary": "part-solid nodule"}],
}  # fmt: skip


def numbers(line: str) -> list[str]:
    return line.split()[-5:]


def test_a_person_sees_a_line_a_study_and_their_sum() -> None:
    first, second, total = text([ROW, ROW], each_finding=False).splitlines()[1:]
    assert first.split()[:2] == ["1.2.3", "theirs"]
    assert numbers(first) == numbers(second) == ["3", "2", "1", "2", "1"]
    assert numbers(total) == ["6", "4", "2", "4", "2"]


def test_of_one_study_a_person_sees_what_one_has_and_the_other_has_not() -> None:
    lines = [line.strip() for line in text([ROW], each_finding=True).splitlines()[2:]]
    assert lines == [
        "in use: job 1, findings, detector 1",
        "shadow: job 2, findings, detector theirs 2",
        "at the same place: N1 in use, N2 in shadow",
        "only in use: N2 solid nodule",
        "only in use: N3 calcified nodule",
        "only in shadow: N1 part-solid nodule",
    ]


def test_where_nothing_can_be_compared_a_person_is_told_so() -> None:
    assert text([], each_finding=False) == "No study was read both by a model in use and by one in shadow."
