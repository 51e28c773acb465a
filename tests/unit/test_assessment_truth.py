"""Tables of known nodules: every layout that exists is read, and what is wrong in one is said in a sentence."""

from pathlib import Path

import pytest

from node.domain.finding import NoduleType
from node.errors import SettingsError
from tests.realdata import folder
from workers.assessment.scan import Nodule
from workers.assessment.truth import read_irrelevant, read_truth
from workers.evaluation.matching import Truth
from workers.phantom import Spec, chest
from workers.phantom.series import uids, write_truth

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"


def table(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "truth.csv"
    path.write_text(text)
    return path


def test_the_layout_of_luna16_is_read_and_a_series_alone_is_a_scan_without_nodules(tmp_path: Path) -> None:
    known = read_truth(table(tmp_path, HEADER + "1.2,-128.6,-175.3,-298.4,5.65\n1.3,,,,\n"))
    assert known == {"1.2": (Nodule(Truth((-128.6, -175.3, -298.4), 5.65)),), "1.3": ()}


def test_what_a_phantom_writes_is_read_with_type_and_volume(tmp_path: Path) -> None:
    phantom = chest(Spec(6, nodules=3, matrix=96, step_mm=5.0, thickness_mm=5.0, leaves=100))
    write_truth(phantom, tmp_path)
    (nodules,) = read_truth(tmp_path / "truth.csv").values()
    assert set(read_truth(tmp_path / "truth.csv")) == {uids(phantom)["SeriesInstanceUID"]}
    drawn = sorted(phantom.nodules, key=lambda one: -one.diameter_mm)
    assert [one.type for one in nodules] == [one.type for one in drawn]
    assert [one.volume_mm3 for one in nodules] == [pytest.approx(one.volume_mm3, abs=0.06) for one in drawn]
    assert [one.truth.center_lps_mm for one in nodules] == [pytest.approx(one.center_lps_mm, abs=0.01) for one in drawn]


def test_of_clustered_reader_marks_those_of_three_readers_count_and_texture_gives_the_type(tmp_path: Path) -> None:
    header = "patient,series,readers,worldX,worldY,worldZ,diam_mm_approx,texture\n"
    rows = "A,1.2,4,1,2,3,28.3,4.75\nA,1.2,2,4,5,6,8,1.5\nA,1.2,3,7,8,9,8,3\n"
    (nodules,) = read_truth(table(tmp_path, header + rows)).values()
    assert nodules == (
        Nodule(Truth((1, 2, 3), 28.3), NoduleType.SOLID),
        Nodule(Truth((4, 5, 6), 8, counts=False), NoduleType.GROUND_GLASS),
        Nodule(Truth((7, 8, 9), 8), NoduleType.PART_SOLID),
    )


def test_irrelevant_findings_without_a_size_are_ten_millimetres_as_in_the_official_script(tmp_path: Path) -> None:
    known = read_irrelevant(table(tmp_path, HEADER + "1.2,1,2,3,-1\n1.2,4,5,6,3.5\n"))
    assert [one.truth for one in known["1.2"]] == [Truth((1, 2, 3), 10.0, False), Truth((4, 5, 6), 3.5, False)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seriesuid,coordX,coordY,coordZ\n1.2,1,2,3\n", "has no column diameter_mm"),
        ("", "has no column seriesuid"),
        (HEADER + "1.2,1,2,3,4\n1.2,1,2,3,-4\n", "line 3: diameter_mm is -4, which no nodule has"),
        (HEADER + "1.2,1,two,3,4\n", "line 2: coordY is not a number"),
        (HEADER + "1.2,1,nan,3,4\n", "line 2: coordY is not a number"),
        (HEADER + "1.2,1,,3,4\n", "line 2: coordY is empty"),
        (HEADER + ",1,2,3,4\n", "line 2: seriesuid is empty"),
        (HEADER[:-1] + ",type\n1.2,1,2,3,4,soft\n", "line 2: type is none of solid, part-solid"),
    ],
)
def test_a_malformed_table_is_refused_with_a_sentence_that_says_where(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_truth(table(tmp_path, text))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truth.csv"
    path.write_bytes(b"\xff\xfe\x00\x81")
    with pytest.raises(SettingsError, match="cannot be read as a csv file"):
        read_truth(path)


@pytest.mark.realdata
def test_the_tables_beside_the_real_scans_are_read() -> None:
    marks, luna16 = (read_truth(folder("ct") / name) for name in ("lidc-nodules.csv", "lidc-luna16-nodules.csv"))
    assert sum(len(nodules) for nodules in luna16.values()) == 4
    assert set(marks) == set(luna16)
    every = read_truth(folder("nodules") / "luna16-annotations.csv")
    assert sum(len(nodules) for nodules in every.values()) == 1186
