"""A phantom as a CT series: DICOM files, and its truth beside them."""

import csv
import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian

from node.domain.uids import derived_uid
from node.errors import SettingsError
from workers.phantom.chest import Phantom, body

IMPLEMENTATION_UID = UID(derived_uid("nodus", "phantom", "implementation"))
INTERCEPT_HU = -1024
TRUTH_COLUMNS = (
    *("seriesuid", "coordX", "coordY", "coordZ", "diameter_mm", "volume_mm3", "type", "attachment"),
    *("outline", "lobe", "long_mm", "short_mm", "axis1_mm", "axis2_mm", "axis3_mm"),
)
"""The first five as in the LUNA16 tables; long and short axis in the axial plane, then the three principal axes."""
ENHANCED_HU = 80.0
"""Blood above this was given contrast."""
STUDY_DATE, STUDY_TIME = "20200101", "120000"


def write_series(phantom: Phantom, folder: Path) -> list[Path]:
    """Write one CT Image Storage file a slice into `folder`/dicom, and truth.json and truth.csv into `folder`.

    Equal phantoms give equal files: UIDs derive from the spec and the pixels. Returns the DICOM files in slice order.
    An earlier phantom makes room. Raises SettingsError where there are files of others.
    """
    images = folder / "dicom"
    images.mkdir(parents=True, exist_ok=True)
    _clear(images)
    paths = []
    for index, dataset in enumerate(datasets(phantom)):
        paths.append(images / f"{index + 1:04d}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    write_truth(phantom, folder)
    return paths


def _clear(images: Path) -> None:
    """Remove an earlier phantom: its surplus slices would be read as part of this one. Others' images stay."""
    earlier = list(images.iterdir())
    if not all(_is_ours(path) for path in earlier):
        raise SettingsError(f"{images} holds files that are not a phantom's: name another folder.")
    for path in earlier:
        path.unlink()


def _is_ours(path: Path) -> bool:
    try:
        return bool(read_file_meta_info(path).ImplementationClassUID == IMPLEMENTATION_UID)
    except (OSError, InvalidDicomError, AttributeError):
        return False


def datasets(phantom: Phantom) -> Iterator[FileDataset]:
    """The slices of a phantom as data sets, from the feet to the head."""
    shared = uids(phantom)
    for index in range(len(phantom.hu)):
        yield _slice(phantom, index, shared)


def uids(phantom: Phantom) -> dict[str, str]:
    """StudyInstanceUID, SeriesInstanceUID and FrameOfReferenceUID of a phantom's series."""
    identity = _identity(phantom)
    return {
        f"{level}UID": derived_uid("nodus", "phantom", level, identity)
        for level in ("StudyInstance", "SeriesInstance", "FrameOfReference")
    }


def truth(phantom: Phantom) -> list[dict[str, object]]:
    """One row a nodule, largest first: what a perfect reader would report."""
    series = uids(phantom)["SeriesInstanceUID"]
    rows: list[dict[str, object]] = []
    for nodule in sorted(phantom.nodules, key=lambda one: -one.diameter_mm):
        place = (round(c, 2) for c in nodule.center_lps_mm)
        size = (round(nodule.diameter_mm, 2), round(nodule.volume_mm3, 1))
        axes = (round(mm, 2) for mm in (nodule.long_mm, nodule.short_mm, *nodule.axes_mm))
        named = (nodule.type.value, nodule.attachment, nodule.outline, nodule.lobe.value)
        values = (series, *place, *size, *named, *axes)
        rows.append(dict(zip(TRUTH_COLUMNS, values, strict=True)))
    return rows


def write_truth(phantom: Phantom, folder: Path) -> None:
    """Write the truth as truth.csv (columns of the LUNA16 tables first) and truth.json (with the spec)."""
    rows = truth(phantom)
    document = {"spec": asdict(phantom.spec), **uids(phantom), "nodules": rows, "decoys": _decoys(phantom)}
    (folder / "truth.json").write_text(json.dumps(document, indent=2) + "\n")
    with (folder / "truth.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, TRUTH_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


def _decoys(phantom: Phantom) -> list[dict[str, object]]:
    return [{"kind": one.kind, "center_lps_mm": [round(c, 1) for c in one.center_lps_mm]} for one in phantom.decoys]


def _identity(phantom: Phantom) -> str:
    digest = hashlib.sha256(phantom.hu.tobytes())
    digest.update(json.dumps(asdict(phantom.spec), sort_keys=True).encode())
    return digest.hexdigest()


def _slice(phantom: Phantom, index: int, shared: dict[str, str]) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = UID(
        derived_uid("nodus", "phantom", "SOPInstance", shared["SeriesInstanceUID"], str(index))
    )
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION_UID
    meta.ImplementationVersionName = "NODUS_PHANTOM"
    dataset = FileDataset(BytesIO(), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    for keyword, value in shared.items():
        setattr(dataset, keyword, value)
    _patient_and_study(dataset, phantom.spec.seed)
    _acquisition(dataset, phantom, index)
    _geometry(dataset, phantom, index)
    _pixels(dataset, phantom, index)
    return dataset


def _patient_and_study(dataset: FileDataset, seed: int) -> None:
    dataset.PatientName = f"PHANTOM^SEED {seed}"
    dataset.PatientID = f"PHANTOM-{seed}"
    dataset.PatientBirthDate = "19600101"
    dataset.PatientSex = "O"
    dataset.PatientAge = "060Y"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = STUDY_DATE
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = STUDY_TIME
    dataset.AccessionNumber = f"PH{seed}"
    dataset.ReferringPhysicianName = ""
    dataset.StudyID = str(seed)[:16]
    dataset.StudyDescription = "Synthetic chest CT"
    dataset.SeriesDescription = "Lung phantom, axial"
    dataset.SeriesNumber = 1
    dataset.Modality = "CT"
    dataset.BodyPartExamined = "CHEST"
    dataset.PatientPosition = "HFS"
    dataset.Manufacturer = "Nodus"
    dataset.ManufacturerModelName = "Phantom"
    dataset.DeviceSerialNumber = "1"
    dataset.SoftwareVersions = "1"
    dataset.PositionReferenceIndicator = ""


def _acquisition(dataset: FileDataset, phantom: Phantom, index: int) -> None:
    spec = phantom.spec
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.AcquisitionNumber = 1
    dataset.InstanceNumber = len(phantom.hu) - index
    dataset.KVP = "120"
    dataset.ScanOptions = "HELICAL MODE"
    dataset.ConvolutionKernel = "SHARP" if spec.sharpness > 0.5 else "STANDARD"
    dataset.SliceThickness = _decimal(spec.thickness_mm)
    dataset.SpacingBetweenSlices = _decimal(spec.step_mm * float(np.cos(np.radians(spec.tilt_deg))))
    dataset.GantryDetectorTilt = _decimal(spec.tilt_deg)
    dataset.ReconstructionDiameter = _decimal(spec.matrix * phantom.grid.spacing_zyx_mm[2])
    if body(spec).contrast_hu > ENHANCED_HU:
        dataset.ContrastBolusAgent = "IODINE"
    dataset.BurnedInAnnotation = "NO"
    dataset.LossyImageCompression = "00"


def _geometry(dataset: FileDataset, phantom: Phantom, index: int) -> None:
    z, y, x = (float(phantom.grid.axis_mm(axis)[index if axis == 0 else 0]) for axis in range(3))
    tilt = np.radians(phantom.grid.tilt_deg)
    dataset.ImagePositionPatient = [_decimal(x), _decimal(y), _decimal(z)]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, *(_decimal(float(part)) for part in (np.cos(tilt), -np.sin(tilt)))]
    dataset.SliceLocation = _decimal(z)
    dataset.PixelSpacing = [_decimal(phantom.grid.spacing_zyx_mm[1]), _decimal(phantom.grid.spacing_zyx_mm[2])]


def _pixels(dataset: FileDataset, phantom: Phantom, index: int) -> None:
    stored = np.clip(phantom.hu[index].astype(np.int32) - INTERCEPT_HU, 0, 4095).astype("<u2")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape
    dataset.BitsAllocated = 16
    dataset.BitsStored = 12
    dataset.HighBit = 11
    dataset.PixelRepresentation = 0
    dataset.RescaleIntercept = INTERCEPT_HU
    dataset.RescaleSlope = 1
    dataset.RescaleType = "HU"
    dataset.WindowCenter, dataset.WindowWidth = "-600", "1500"
    dataset.PixelData = stored.tobytes()


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters (PS3.5 6.2)."""
    text = f"{value:.6f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text
