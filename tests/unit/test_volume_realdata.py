"""The reader on real scans, on one slice in every transfer syntax, and on everything odd that others collected."""

from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from node.errors import BadInput
from tests.builders import write_series
from tests.realdata import DATA, folder, scan
from workers.volume import load_series, load_volume

pytestmark = pytest.mark.realdata


@pytest.mark.parametrize(
    ("name", "shape", "spacing"),
    [
        ("cptac", (99, 512, 512), (3.0, 0.564453125, 0.564453125)),
        ("weasis", (98, 512, 512), (3.0, 1.074219, 1.074219)),
        ("lidc-0001", (133, 512, 512), (2.5, 0.703125, 0.703125)),
        ("lung-dx", (64, 512, 512), (5.0, 0.841796875, 0.841796875)),
    ],
)
def test_real_series_have_their_geometry_and_hounsfield_units(
    name: str, shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    series = load_series(scan(name))
    assert series.volume.hu.shape == shape
    assert series.volume.spacing_zyx_mm == pytest.approx(spacing)
    assert series.volume.hu.min() == -1024
    positions = np.array([header.ImagePositionPatient for header in series.headers], float)
    first_voxels = series.volume.to_lps_mm(np.array([[z, 0, 0] for z in range(shape[0])], float))
    assert np.abs(first_voxels - positions).max() < 0.01


def cornerstone() -> list[Path]:
    return sorted((DATA / "corpus/cornerstone").glob("CTImage.dcm_*.dcm"))


@pytest.mark.parametrize("path", cornerstone() or [Path("absent")], ids=lambda path: path.name[12:-4])
def test_every_transfer_syntax_gives_the_same_slice(path: Path, tmp_path: Path) -> None:
    reference = folder("corpus/cornerstone") / "CTImage.dcm_LittleEndianExplicitTransferSyntax_1.2.840.10008.1.2.1.dcm"
    lossy = any(word in path.name for word in ("Lossy", "JPEG2000Transfer", "10_12", "Process1T", "2_4", "6_8"))
    found, expected = (_as_stack(source, tmp_path / source.name) for source in (path, reference))
    if found is None:
        assert path.stem.endswith((".53", ".55")), "only the two retired JPEG processes have no decoder"
        return
    assert expected is not None
    difference = np.abs(found.astype(int) - expected)
    assert np.median(difference) <= (20 if lossy else 0)
    assert lossy or difference.max() == 0


def _as_stack(path: Path, target: Path) -> np.ndarray | None:
    """The slice twice, 1 mm apart, loaded; None where it is refused."""
    datasets = [dcmread(path) for _ in range(2)]
    for z, dataset in enumerate(datasets):
        dataset.SOPInstanceUID = f"1.2.{z}"
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
        dataset.ImagePositionPatient[2] = z
        dataset.FrameOfReferenceUID = dataset.get("FrameOfReferenceUID") or "1.2.3"
    try:
        return load_volume(write_series(datasets, target), min_slices=2).hu[0]
    except BadInput:
        return None


@pytest.mark.filterwarnings("ignore")
def test_nothing_odd_gets_more_than_a_refusal() -> None:
    refused = 0
    for path in sorted(folder("corpus").rglob("*")):
        if path.is_file():
            try:
                load_volume([path], min_slices=1)
            except BadInput as error:
                refused += 1
                assert str(error).endswith(".")
    assert refused > 150
