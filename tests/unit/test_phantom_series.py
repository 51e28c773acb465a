"""A phantom leaves as a CT series that any DICOM reader takes, with its truth beside it."""

import csv
import json
import shutil
import subprocess
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from pydicom import dcmread

from node.errors import SettingsError
from workers.cli import commands
from workers.phantom import Phantom, Spec, chest, varied
from workers.phantom.series import datasets, uids, write_series
from workers.volume import load_volume

SMALL = Spec(6, nodules=3, matrix=96, step_mm=5.0, thickness_mm=5.0, leaves=100)


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return chest(SMALL)


def test_the_series_reads_back_as_the_phantom(phantom: Phantom, tmp_path: Path) -> None:
    volume = load_volume(write_series(phantom, tmp_path))
    assert np.array_equal(volume.hu, phantom.hu)
    assert np.allclose(volume.affine, phantom.grid.affine, atol=1e-3)


def test_equal_phantoms_give_equal_files(phantom: Phantom, tmp_path: Path) -> None:
    first, second = (write_series(one, tmp_path / name) for one, name in ((phantom, "a"), (chest(SMALL), "b")))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


def test_slices_of_a_longer_phantom_do_not_stay_behind(phantom: Phantom, tmp_path: Path) -> None:
    paths = write_series(phantom, tmp_path)
    shutil.copy(paths[-1], tmp_path / "dicom" / f"{len(paths) + 1:04d}.dcm")
    write_series(phantom, tmp_path)
    assert sorted((tmp_path / "dicom").iterdir()) == paths


def test_files_that_are_no_phantom_are_never_overwritten_or_removed(phantom: Phantom, tmp_path: Path) -> None:
    write_series(phantom, tmp_path)
    theirs = tmp_path / "dicom" / "0001.dcm"
    theirs.write_text("not ours")
    before = sorted((tmp_path / "dicom").iterdir())
    with pytest.raises(SettingsError, match="not a phantom's"):
        write_series(phantom, tmp_path)
    assert sorted((tmp_path / "dicom").iterdir()) == before
    assert theirs.read_text() == "not ours"


def test_other_pixels_have_other_uids(phantom: Phantom) -> None:
    other = Phantom(phantom.spec, phantom.grid, phantom.hu + np.int16(1), phantom.lungs, phantom.nodules)
    assert not set(uids(phantom).values()) & set(uids(other).values())


def test_every_slice_is_its_own_instance_of_one_series(phantom: Phantom) -> None:
    slices = list(datasets(phantom))
    assert len({s.SOPInstanceUID for s in slices}) == len({s.InstanceNumber for s in slices}) == len(phantom.hu)
    assert len({(s.StudyInstanceUID, s.SeriesInstanceUID, s.FrameOfReferenceUID) for s in slices}) == 1
    assert str(slices[0].PatientName) == "PHANTOM^SEED 6"


def test_dciodvfy_finds_no_error(phantom: Phantom, tmp_path: Path) -> None:
    paths = write_series(phantom, tmp_path)
    for path in (paths[0], paths[len(paths) // 2], paths[-1]):
        with path.open("rb") as file:
            said = subprocess.run(["dciodvfy", "-new"], stdin=file, capture_output=True, text=True, check=False)
        assert "Error" not in said.stderr + said.stdout


def test_the_truth_lists_each_nodule_in_the_columns_of_luna16(phantom: Phantom, tmp_path: Path) -> None:
    write_series(phantom, tmp_path)
    with (tmp_path / "truth.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:5] == ["seriesuid", "coordX", "coordY", "coordZ", "diameter_mm"]
    told = sorted((float(r["coordX"]), float(r["coordY"]), float(r["coordZ"])) for r in rows)
    assert np.allclose(told, sorted(n.center_lps_mm for n in phantom.nodules), atol=0.01)
    document = json.loads((tmp_path / "truth.json").read_text())
    assert document["spec"]["seed"] == 6
    assert document["SeriesInstanceUID"] == rows[0]["seriesuid"]


def test_the_command_writes_what_the_function_makes(tmp_path: Path) -> None:
    arguments = ["phantom", "--seed", "6", "--nodules", "2", "--matrix", "96", "--step", "5", "--out", str(tmp_path)]
    said = CliRunner().invoke(commands, arguments, catch_exceptions=False)
    assert said.exit_code == 0
    files = sorted((tmp_path / "dicom").iterdir())
    assert f"{len(files)} slices with 2 nodules" in said.output
    assert dcmread(files[0]).SliceThickness == 5


def test_the_command_draws_everything_from_the_seed_but_what_it_is_told(tmp_path: Path) -> None:
    told = ["--varied", "--nodules", "1", "--matrix", "96", "--step", "5", "--contrast", "200"]
    said = CliRunner().invoke(
        commands, ["phantom", "--seed", "6", "--out", str(tmp_path), *told], catch_exceptions=False
    )
    assert said.exit_code == 0
    spec = json.loads((tmp_path / "truth.json").read_text())["spec"]
    expected = varied(6, nodules=1, matrix=96, step_mm=5.0, thickness_mm=5.0, contrast_hu=200.0)
    assert spec == json.loads(json.dumps(asdict(expected)))
