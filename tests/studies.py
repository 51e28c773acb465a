"""Chest CT studies in small: headers for rules, data sets of 4 x 4 pixels for the wire, arrivals for the catalog."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node.domain.instance import CtAttributes, CtFrame, InstanceHeader
from node.domain.reception import Reception
from node.domain.study import Arrival
from node.domain.uids import derived_uid
from node.headers import header_of, read_elements
from node.headers.meta import FileIdentity
from node.spool import Spool
from tests.sender import Payload, payload_of

AT = datetime(2025, 3, 4, 5, 6, 7, tzinfo=UTC)
"""When the first image of a test comes."""


def after(seconds: float) -> datetime:
    """So long after AT."""
    return AT + timedelta(seconds=seconds)


@dataclass(frozen=True)
class Series:
    """One axial CT series, by default one that can be read in full."""

    study: str = "1"
    series: str = "1"
    count: int = 64
    step_mm: float = 2.5
    thickness_mm: float = 2.5
    attributes: tuple[tuple[str, Any], ...] = ()
    """Keyword and value, in place of what is usual."""

    @property
    def study_uid(self) -> str:
        """Study Instance UID."""
        return derived_uid("test study", self.study)

    @property
    def series_uid(self) -> str:
        """Series Instance UID."""
        return derived_uid("test series", self.study, self.series)

    def instance_uid(self, number: int) -> str:
        """SOP Instance UID of one slice."""
        return derived_uid("test image", self.study, self.series, str(number))

    def having(self, **attributes: Any) -> "Series":
        """The same with other attributes; None deletes one."""
        return replace(self, attributes=(*self.attributes, *attributes.items()))

    def datasets(self, numbers: Iterable[int] | None = None) -> list[Dataset]:
        """Slices with file meta, Explicit VR Little Endian."""
        return [self._dataset(number) for number in (range(self.count) if numbers is None else numbers)]

    def payloads(self, numbers: Iterable[int] | None = None) -> list[Payload]:
        """Slices as they go over the wire."""
        return [payload_of(dataset) for dataset in self.datasets(numbers)]

    def headers(self, numbers: Iterable[int] | None = None) -> list[InstanceHeader]:
        """Slices as the catalog knows them."""
        first = header_of_payload(payload_of(self._dataset(0)))
        return [self._header(first, number) for number in (range(self.count) if numbers is None else numbers)]

    def _header(self, first: InstanceHeader, number: int) -> InstanceHeader:
        """Like the first, at its own place: reading every one from bytes would take most of a test's time."""
        frames = (frame(-200 + number * self.step_mm, -150, -150),)
        changed = replace(_ct(first), frames=frames)
        return replace(first, sop_instance_uid=self.instance_uid(number), instance_number=number + 1, ct=changed)

    def _dataset(self, number: int) -> Dataset:
        image = Dataset()
        image.SpecificCharacterSet = "ISO_IR 192"
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, self.instance_uid(number)
        image.StudyInstanceUID, image.SeriesInstanceUID = self.study_uid, self.series_uid
        image.FrameOfReferenceUID = derived_uid("test frame", self.study)
        image.PatientName, image.PatientID, image.PatientAge = "Nodus^Test", f"TEST-{self.study}", "064Y"
        image.PatientBirthDate, image.PatientSex = "19600102", "O"
        image.StudyDate, image.StudyTime, image.ContentTime = "20240203", "101112", "101112"
        image.AccessionNumber, image.StudyID, image.StudyDescription = f"ACC-{self.study}"[:16], "1", "CT Thorax"
        image.Modality, image.SeriesNumber, image.SeriesDescription = "CT", "3", "Thorax 2.5"
        image.BodyPartExamined, image.InstanceNumber, image.AcquisitionNumber = "CHEST", str(number + 1), "1"
        image.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        image.ImagePositionPatient = [-150, -150, -200 + number * self.step_mm]
        image.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        image.PixelSpacing, image.SliceThickness = [0.7, 0.7], str(self.thickness_mm)
        image.RescaleSlope, image.RescaleIntercept, image.RescaleType = "1", "-1024", "HU"
        _add_pixels(image, number)
        for keyword, value in self.attributes:
            if value is None:
                delattr(image, keyword)
            else:
                setattr(image, keyword, value)
        return _with_meta(image)


def _add_pixels(image: Dataset, number: int) -> None:
    image.Rows = image.Columns = 4
    image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 16, 16, 15, 0
    image.PixelData = number.to_bytes(2, "little") * 16


def _with_meta(image: Dataset) -> Dataset:
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta.MediaStorageSOPClassUID = image.SOPClassUID
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    return image


def with_ct(headers: Iterable[InstanceHeader], **changes: Any) -> list[InstanceHeader]:
    """The same headers with other CT attributes."""
    return [replace(header, ct=replace(_ct(header), **changes)) for header in headers]


def _ct(header: InstanceHeader) -> CtAttributes:
    assert header.ct is not None
    return header.ct


def frame(
    z_mm: float, x_mm: float = 0.0, y_mm: float = 0.0, orientation: Sequence[float] = (1, 0, 0, 0, 1, 0)
) -> CtFrame:
    """One frame at a place."""
    return CtFrame((x_mm, y_mm, z_mm), tuple(orientation))


def reception(
    at: datetime = AT, association: str = "a-1", calling: str = "CT1", address: str = "127.0.0.1"
) -> Reception:
    """Who brought something, and when."""
    return Reception(association, calling, "NODUS", address, at.isoformat())


def arrivals(headers: Iterable[InstanceHeader], by: Reception | None = None) -> list[Arrival]:
    """Headers as new files; the files are not there."""
    return [_arrival(header, by or reception()) for header in headers]


def _arrival(header: InstanceHeader, by: Reception) -> Arrival:
    path = f"spool/instances/{header.sop_instance_uid}/{header.series_instance_uid}.dcm"
    return Arrival(header, by, path, derived_uid(path)[-60:], 1000)


def header_of_payload(payload: Payload) -> InstanceHeader:
    """What a receiver tells of an instance."""
    elements = read_elements(BytesIO(payload.data_set), payload.transfer_syntax_uid)
    return header_of(elements, payload.transfer_syntax_uid)


def keep(spool: Spool, payload: Payload, by: Reception | None = None) -> Arrival:
    """Put one instance into the spool as a receiver does."""
    by, header = by or reception(), header_of_payload(payload)
    identity = FileIdentity(payload.sop_class_uid, payload.sop_instance_uid, payload.transfer_syntax_uid)
    with spool.receive(identity, by) as incoming:
        incoming.write(memoryview(payload.data_set))
        stored = incoming.publish(payload.sop_instance_uid, header.study_instance_uid)
    return Arrival(header, by, stored.path, stored.digest, stored.size)


def keep_all(spool: Spool, payloads: Iterable[Payload], by: Reception | None = None) -> list[Arrival]:
    """Put some instances into the spool as a receiver does."""
    return [keep(spool, payload, by) for payload in payloads]
