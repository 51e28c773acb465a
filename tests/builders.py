"""Things tests are made of: digital spheres, volumes, CT series."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmwrite
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian
from scipy import ndimage

from node.domain.uids import derived_uid
from workers.volume import Mask, SliceSource, Volume

LUNG_HU = -850


@dataclass(frozen=True)
class Sphere:
    """A ball of one density."""

    center_zyx_mm: tuple[float, float, float]
    """From the centre of the first voxel."""
    diameter_mm: float
    hu: float = 40.0


def spheres_hu(
    shape: tuple[int, int, int],
    spacing_zyx_mm: tuple[float, float, float],
    spheres: Sequence[Sphere],
    blur_mm: float = 0.5,
    noise_hu: float = 0.0,
    seed: int = 0,
) -> NDArray[np.int16]:
    """Balls in lung, averaged over each voxel (5 samples an axis), blurred by a Gaussian PSF, with white noise."""
    fine = 5
    hu = np.full(shape, float(LUNG_HU))
    for sphere in spheres:
        share = _ball_share(shape, spacing_zyx_mm, sphere, fine)
        hu += share * (sphere.hu - hu)
    hu = ndimage.gaussian_filter(hu, [blur_mm / spacing for spacing in spacing_zyx_mm])
    hu += np.random.default_rng(seed).normal(0, noise_hu, shape) if noise_hu else 0
    return np.rint(hu).astype(np.int16)


def _ball_share(
    shape: tuple[int, int, int], spacing_zyx_mm: tuple[float, float, float], sphere: Sphere, fine: int
) -> NDArray[np.float64]:
    """Share of each voxel that the ball covers, from fine ** 3 samples a voxel, taken near the ball only."""
    offsets = (np.arange(fine) + 0.5) / fine - 0.5
    box, squares = [], []
    for size, spacing, center in zip(shape, spacing_zyx_mm, sphere.center_zyx_mm, strict=True):
        low = max(int((center - sphere.diameter_mm / 2) / spacing) - 1, 0)
        high = min(int((center + sphere.diameter_mm / 2) / spacing) + 2, size)
        box.append(slice(low, high))
        squares.append(((np.arange(low, high)[:, None] + offsets).ravel() * spacing - center) ** 2)
    reach = squares[0][:, None, None] + squares[1][None, :, None] + squares[2][None, None, :]
    inside = reach <= (sphere.diameter_mm / 2) ** 2
    depth, height, width = (side.stop - side.start for side in box)
    share = np.zeros(shape)
    share[tuple(box)] = inside.reshape(depth, fine, height, fine, width, fine).mean(axis=(1, 3, 5))
    return share


def as_volume(
    hu: NDArray[np.int16],
    spacing_zyx_mm: tuple[float, float, float] = (1.0, 0.7, 0.7),
    origin_lps_mm: tuple[float, float, float] = (0.0, 0.0, 0.0),
) -> Volume:
    """An axial, head-first supine volume with made-up sources."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing_zyx_mm
    affine[:, 3] = (*origin_lps_mm, 1.0)
    slices = tuple(
        SliceSource(derived_uid("test slice", str(z)), CTImageStorage, None, len(hu) - z) for z in range(len(hu))
    )
    return Volume(hu, spacing_zyx_mm, affine, slices)


def half_max_mask(volume: Volume, sphere: Sphere) -> Mask:
    """Voxels above the half between sphere and lung, in the smallest box."""
    solid = volume.hu > (sphere.hu + LUNG_HU) / 2
    box = ndimage.find_objects(solid.astype(np.uint8))[0]
    return Mask(solid[box], (box[0].start, box[1].start, box[2].start))


@dataclass(frozen=True)
class Scan:
    """How a synthetic series is stored."""

    spacing_zyx_mm: tuple[float, float, float] = (1.0, 0.7, 0.7)
    origin_lps_mm: tuple[float, float, float] = (-50.0, -60.0, 100.0)
    """Centre of the first voxel of hu[0]."""
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0)
    step_direction: tuple[float, float, float] = (0, 0, 1)
    """From slice to slice."""
    intercept: int = -1024
    signed: bool = False
    name: str = "Nodus^Test"
    charset: str = "ISO_IR 100"
    study: str = "1"
    """Part of every UID."""

    def uid(self, kind: str, number: int = 0) -> str:
        """A UID of this scan."""
        return derived_uid("test", self.study, kind, str(number))


def ct_series(hu: NDArray[np.int16], scan: Scan | None = None) -> list[Dataset]:
    """One CT Image Storage data set per slice of `hu` (z, y, x); Explicit VR Little Endian, with file meta."""
    scan = scan or Scan()
    return [_ct_image(plane, z, scan) for z, plane in enumerate(hu)]


def write_series(datasets: Sequence[Dataset], folder: Path) -> list[Path]:
    """Save data sets as Part-10 files, named by number."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{number:04}.dcm" for number in range(len(datasets))]
    for path, dataset in zip(paths, datasets, strict=True):
        dcmwrite(path, dataset, enforce_file_format=True)
    return paths


def _ct_image(plane: NDArray[np.int16], z: int, scan: Scan) -> Dataset:
    image = _patient_and_study(scan)
    image.SOPClassUID = CTImageStorage
    image.SOPInstanceUID = scan.uid("image", z)
    image.InstanceNumber = str(z + 1)
    image.AcquisitionNumber = "1"
    image.KVP = "120"
    image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    image.ImagePositionPatient = _decimals(_position(z, scan))
    image.ImageOrientationPatient = _decimals(scan.orientation)
    image.PixelSpacing = _decimals(scan.spacing_zyx_mm[1:])
    image.SliceThickness = str(scan.spacing_zyx_mm[0])
    image.RescaleSlope, image.RescaleIntercept, image.RescaleType = "1", str(scan.intercept), "HU"
    image.WindowCenter, image.WindowWidth = "-600", "1500"
    _pixels(image, plane, scan)
    return _with_meta(image)


def enhanced_ct(hu: NDArray[np.int16], scan: Scan | None = None) -> Dataset:
    """One Enhanced CT with all slices as frames, written from the highest index to the lowest."""
    scan = scan or Scan()
    image = _patient_and_study(scan)
    image.SOPClassUID = EnhancedCTImageStorage
    image.SOPInstanceUID = scan.uid("enhanced")
    image.InstanceNumber = "1"
    image.NumberOfFrames = str(len(hu))
    image.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    image.SharedFunctionalGroupsSequence = [_shared_groups(scan)]
    image.PerFrameFunctionalGroupsSequence = [_frame_groups(z, scan) for z in reversed(range(len(hu)))]
    _pixels(image, hu[::-1], scan)
    return _with_meta(image)


def _shared_groups(scan: Scan) -> Dataset:
    measures, orientation, groups = Dataset(), Dataset(), Dataset()
    measures.PixelSpacing = _decimals(scan.spacing_zyx_mm[1:])
    measures.SliceThickness = str(scan.spacing_zyx_mm[0])
    orientation.ImageOrientationPatient = _decimals(scan.orientation)
    groups.PixelMeasuresSequence, groups.PlaneOrientationSequence = [measures], [orientation]
    return groups


def _frame_groups(z: int, scan: Scan) -> Dataset:
    position, rescale, groups = Dataset(), Dataset(), Dataset()
    position.ImagePositionPatient = _decimals(_position(z, scan))
    rescale.RescaleSlope, rescale.RescaleIntercept, rescale.RescaleType = "1", str(scan.intercept), "HU"
    groups.PlanePositionSequence, groups.PixelValueTransformationSequence = [position], [rescale]
    return groups


def _patient_and_study(scan: Scan) -> Dataset:
    dataset = Dataset()
    dataset.SpecificCharacterSet = scan.charset.split("\\")
    dataset.PatientName, dataset.PatientID = scan.name, "TEST-0001"
    dataset.PatientBirthDate, dataset.PatientSex, dataset.PatientAge = "19600102", "O", "064Y"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20240203"
    dataset.StudyTime = dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101112"
    dataset.AccessionNumber, dataset.StudyID, dataset.StudyDescription = "ACC-1", "1", "CT Thorax"
    dataset.ReferringPhysicianName = ""
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = scan.uid("study"), scan.uid("series")
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = scan.uid("frame"), ""
    dataset.Modality, dataset.SeriesNumber, dataset.PatientPosition = "CT", "3", "HFS"
    dataset.Manufacturer, dataset.ManufacturerModelName = "Maker", "Scanner"
    dataset.BodyPartExamined, dataset.SeriesDescription = "CHEST", "Thorax 1.0"
    return dataset


def _pixels(image: Dataset, hu: NDArray[np.int16], scan: Scan) -> None:
    stored = hu.astype(np.int32) - scan.intercept
    image.Rows, image.Columns = hu.shape[-2:]
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit = 16, 16, 15
    image.PixelRepresentation = int(scan.signed)
    image.PixelData = stored.astype("<i2" if scan.signed else "<u2").tobytes()


def _position(z: int, scan: Scan) -> NDArray[np.float64]:
    return np.array(scan.origin_lps_mm) + z * scan.spacing_zyx_mm[0] * np.array(scan.step_direction)


def _decimals(values: Sequence[float] | NDArray[np.float64]) -> list[str]:
    return [f"{value:.9f}"[:16] for value in values]


def _with_meta(dataset: Dataset) -> Dataset:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return dataset
