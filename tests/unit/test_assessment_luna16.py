"""LUNA16 as it is downloaded: volumes in the right place in the world, and a sentence where something is missing."""

import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from numpy.typing import NDArray

from node.errors import BadInput, SettingsError
from tests.mhd import IDENTITY, write_mhd
from workers.assessment.compare import compare
from workers.assessment.luna16 import load_mhd, luna16_source

HEADER = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
SPACING, ORIGIN = (2.5, 0.7, 0.6), (-100.0, -80.0, -300.0)


def image() -> NDArray[np.int16]:
    """Every voxel another value; padding in one."""
    hu = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    hu[0, 0, 0] = -3024
    return hu


def test_a_volume_lies_where_the_mhd_says_in_lps(tmp_path: Path) -> None:
    volume = load_mhd(SimpleITK, write_mhd(tmp_path / "1.2.mhd", image(), SPACING, ORIGIN))
    assert np.array_equal(volume.hu, np.maximum(image(), -1024))
    assert volume.spacing_zyx_mm == pytest.approx(SPACING)
    assert volume.to_lps_mm(np.array([[2.0, 3.0, 4.0]]))[0] == pytest.approx((-100 + 4 * 0.6, -80 + 3 * 0.7, -295))
    assert len(volume.slices) == 4


def test_a_volume_stored_from_the_head_down_or_mirrored_keeps_every_voxel_in_its_place(tmp_path: Path) -> None:
    mirrored = (-1, 0, 0, 0, -1, 0, 0, 0, -1)
    straight = load_mhd(SimpleITK, write_mhd(tmp_path / "a.mhd", image(), SPACING, ORIGIN))
    last = tuple(straight.to_lps_mm(np.array([[3.0, 4.0, 5.0]]))[0].tolist())
    turned = load_mhd(SimpleITK, write_mhd(tmp_path / "b.mhd", image()[::-1, ::-1, ::-1], SPACING, last, mirrored))
    assert turned.affine[2, 0] > 0
    for index in np.argwhere(image() > 0)[::7]:
        (place,) = straight.to_lps_mm(index[None].astype(float))
        z, y, x = np.rint(turned.to_zyx(place[None])[0]).astype(int)
        assert turned.hu[z, y, x] == straight.hu[tuple(index)]


def test_a_scan_without_its_raw_is_refused_and_its_nodules_are_missed(tmp_path: Path) -> None:
    path = write_mhd(tmp_path / "subset0" / "1.2.mhd", image(), SPACING, ORIGIN)
    path.with_suffix(".raw").unlink()
    with pytest.raises(BadInput, match=r"\.mhd and \.raw cannot be read"):
        load_mhd(SimpleITK, path)
    annotations(tmp_path, "1.2,1,2,3,4\n", "1.2,9,9,9,-1\n")
    source = luna16_source(tmp_path)
    (result,) = [compare(scan) for scan in source.scans]
    assert result.matched.hits == (None,) and result.matched.false_positives == ()
    assert "cannot be read" in result.refusal


def annotations(folder: Path, nodules: str, excluded: str) -> None:
    (folder / "annotations.csv").write_text(HEADER + nodules)
    (folder / "annotations_excluded.csv").write_text(HEADER + excluded)


def test_less_than_the_whole_set_is_called_so(tmp_path: Path) -> None:
    write_mhd(tmp_path / "subset0" / "1.2.mhd", image(), SPACING, ORIGIN)
    annotations(tmp_path, "1.2,1,2,3,4\n1.3,1,2,3,4\n", "")
    source = luna16_source(tmp_path)
    assert source.count == 1
    assert source.on == "1 of the 888 scans of LUNA16"
    assert source.notes == ("1 of 888 scans with 1 of 1186 nodules: not the official number.",)


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"There is no subset\*/\*\.mhd below"):
        luna16_source(tmp_path)
    write_mhd(tmp_path / "subset0" / "1.2.mhd", image(), SPACING, ORIGIN)
    with pytest.raises(SettingsError, match=r"has no annotations\.csv"):
        luna16_source(tmp_path)
    (tmp_path / "annotations.csv").write_text(HEADER)
    with pytest.raises(SettingsError, match=r"has no annotations_excluded\.csv"):
        luna16_source(tmp_path)
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(SettingsError, match=r"needs SimpleITK for this: install nodus\[evaluation\]"):
        luna16_source(tmp_path)


def test_an_image_of_one_slice_is_no_volume(tmp_path: Path) -> None:
    path = tmp_path / "flat.mhd"
    write_mhd(path, image(), SPACING, ORIGIN, IDENTITY)
    text = path.read_text().replace("NDims = 3", "NDims = 2").replace("DimSize = 6 5 4", "DimSize = 6 5")
    lines = ("TransformMatrix = 1 0 0 1", "Offset = 0 0", "ElementSpacing = 1 1")
    kept = [line for line in text.splitlines() if line.split(" = ")[0] not in {each.split(" = ")[0] for each in lines}]
    path.write_text("\n".join([*kept[:2], *lines, *kept[2:]]) + "\n")
    with pytest.raises(BadInput, match="does not hold a volume"):
        load_mhd(SimpleITK, path)
