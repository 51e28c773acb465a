"""Each rule sees what breaks it, and it alone; nothing that is encoded breaks any."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fpdf import FPDF
from pydicom import Dataset
from pydicom.dataelem import DataElement
from pydicom.sr.coding import Code
from pydicom.uid import ImplicitVRLittleEndian, MRImageStorage
from pypdf import PdfReader, PdfWriter
from pypdf.generic import DictionaryObject, NameObject, TextStringObject

from node.domain.delivery import ResultKind
from node.domain.outcome import Conclusion, Outcome
from tests.compared import compared, hindered, unfetched
from tests.damage import Change, below, changed, coded, content_item, without
from tests.readings import Reading, not_analysed, reading, result_request
from tests.result_cases import CASES, PARTIAL, solid_part
from workers.results import (
    RULES,
    SR_LADDER,
    EncodedResult,
    Predecessor,
    ResultRequest,
    broken_rules,
    encode,
    encode_all,
)
from workers.results.page import draw_page

SEG, SR, SC = ResultKind.SEG, ResultKind.SR, ResultKind.SC
KOS, GSPS, PDF, PM = ResultKind.KOS, ResultKind.GSPS, ResultKind.PDF, ResultKind.PM
COMMENT = Code("121106", "DCM", "Comment")
FINDING = Code("121071", "DCM", "Finding")
NODULE = Code("27925004", "SCT", "Nodule")
NODULE_OF_LUNG, ABSENT = Code("786838002", "SCT", "Nodule of lung"), Code("272519000", "SCT", "Absent")
LUNG_RADS = Code("RID50134", "RADLEX", "Lung-RADS assessment")
DIFFERENCE = Code("111049", "DCM", "Qualitative Difference")
GREW = Code("15454001", "SCT", "Increase in size")
STRANGER = "1.2.3.4"

Request = Callable[[Reading], ResultRequest]


@dataclass(frozen=True)
class Damage:
    """One way to break one rule."""

    kind: ResultKind
    change: Change
    request: Request = result_request


def negative(found: Reading) -> ResultRequest:
    return result_request(replace(found, findings=(), masks=()))


def partial(found: Reading) -> ResultRequest:
    return result_request(found, PARTIAL)


def partial_without(found: Reading) -> ResultRequest:
    return result_request(replace(found, findings=(), masks=()), PARTIAL)


def successor(found: Reading) -> ResultRequest:
    study = str(found.series.headers[0].StudyInstanceUID)
    earlier = {rung: Predecessor(study, "1.2.3", rung, f"1.2.3.{n}") for n, rung in enumerate(SR_LADDER)}
    return result_request(found, predecessors=earlier)


def half_said(found: Reading) -> ResultRequest:
    return result_request(found, Conclusion(Outcome.PARTIAL, PARTIAL.limitations[:1]))


def sized(**sizes: float | None) -> Request:
    """The first nodule has other sizes, and every object says so."""

    def request(found: Reading) -> ResultRequest:
        first, *others = found.findings
        first = replace(first, measurements=replace(first.measurements, **sizes))
        return result_request(replace(found, findings=(first, *others)))

    return request


def centred_elsewhere(found: Reading) -> ResultRequest:
    first, *others = found.findings
    return result_request(replace(found, findings=(replace(first, center_lps_mm=(500.0, 0.0, 0.0)), *others)))


def setting(**attributes: object) -> Change:
    """Attributes of the data set itself."""

    def change(dataset: Dataset) -> None:
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)

    return change


def deleting(keyword: str) -> Change:
    return lambda dataset: delattr(dataset, keyword)


def in_first(meaning: str, change: Change) -> Change:
    """Of the first content item with this name."""
    return lambda report: change(below(report, meaning)[0])


def in_last(meaning: str, change: Change) -> Change:
    """Of the last one."""
    return lambda report: change(below(report, meaning)[-1])


def in_centimetres(item: Dataset) -> None:
    """The same number with another unit."""
    item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence = [coded(Code("cm", "UCUM", "cm"))]


def adding(*items: Dataset) -> Change:
    return lambda report: report.ContentSequence.extend(items)


def in_unicode(change: Change) -> Change:
    """Written in the character set that holds everything."""
    return lambda dataset: (setting(SpecificCharacterSet="ISO_IR 192")(dataset), change(dataset))


def numbered(value: str) -> Change:
    return lambda item: setattr(item.MeasuredValueSequence[0], "NumericValue", value)


def in_meta(keyword: str, value: str) -> Change:
    return lambda dataset: setattr(dataset.file_meta, keyword, value)


def segment(**attributes: object) -> Change:
    return lambda segmentation: setting(**attributes)(segmentation.SegmentSequence[0])


def shared(macro: str, **attributes: object) -> Change:
    return lambda image: setting(**attributes)(image.SharedFunctionalGroupsSequence[0][macro].value[0])


def more_digits_than_fit(item: Dataset) -> None:
    measured = item.MeasuredValueSequence[0]
    number = DataElement("NumericValue", "DS", f"{float(measured.NumericValue):.20f}")
    measured[number.tag] = number


def one_more_image(references: list[Dataset]) -> None:
    stranger = deepcopy(references[0])
    stranger.ReferencedSOPInstanceUID = STRANGER
    references.append(stranger)


def evidence_of(report: Dataset) -> list[Dataset]:
    series = report.CurrentRequestedProcedureEvidenceSequence[0].ReferencedSeriesSequence[0]
    found: list[Dataset] = series.ReferencedSOPSequence
    return found


def sources_of(segmentation: Dataset) -> list[Dataset]:
    found: list[Dataset] = segmentation.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    return found


def other_images_of(report: Dataset) -> list[Dataset]:
    found: list[Dataset] = report.PertinentOtherEvidenceSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence
    return found


def saying_otherwise(begin: str) -> Change:
    """Other words in the comment that begins so."""

    def change(report: Dataset) -> None:
        (comment,) = [each for each in below(report, "Comment") if each.TextValue.startswith(begin)]
        comment.TextValue = "It is all the same."

    return change


def without_the_last_group(report: Dataset) -> None:
    below(report, "Imaging Measurements")[0].ContentSequence.pop()


def off_the_slice(segmentation: Dataset) -> None:
    place = segmentation.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    x, y, z = place.ImagePositionPatient
    place.ImagePositionPatient = [x, y, z + 0.3]


def drawn_on_another_slice(segmentation: Dataset) -> None:
    first, *_, last = segmentation.PerFrameFunctionalGroupsSequence
    first.DerivationImageSequence = deepcopy(last.DerivationImageSequence)


def an_empty_frame(segmentation: Dataset) -> None:
    """Of the first segment, on a slice where only another has voxels."""
    first, *_, last = segmentation.PerFrameFunctionalGroupsSequence
    groups = deepcopy(last)
    groups.SegmentIdentificationSequence = deepcopy(first.SegmentIdentificationSequence)
    segmentation.PerFrameFunctionalGroupsSequence.append(groups)
    segmentation.NumberOfFrames += 1
    segmentation.PixelData += bytes(segmentation.Rows * segmentation.Columns // 8)


def one_voxel_more(segmentation: Dataset) -> None:
    pixels = bytearray(segmentation.PixelData)
    pixels[0] ^= 1  # the corner of the first frame
    segmentation.PixelData = bytes(pixels)


def segment_by_segment_turned(segmentation: Dataset) -> None:
    """Two frames of one segment change places, pixels stay."""
    first, second = segmentation.PerFrameFunctionalGroupsSequence[:2]
    for macro in ("PlanePositionSequence", "DerivationImageSequence"):
        first[macro].value, second[macro].value = second[macro].value, first[macro].value


def selected(keys: Dataset) -> list[Dataset]:
    return [item for item in keys.ContentSequence if item.ValueType == "IMAGE"]


def marks(state: Dataset) -> list[Dataset]:
    found: list[Dataset] = state.GraphicAnnotationSequence
    return found


def moved_circle(state: Dataset) -> None:
    circle = marks(state)[0].GraphicObjectSequence[0]
    circle.GraphicData = [circle.GraphicData[0] + 5, *circle.GraphicData[1:]]


def marked_on_another_image(state: Dataset) -> None:
    first, *_, last = marks(state)
    first.ReferencedImageSequence = deepcopy(last.ReferencedImageSequence)


RUNS = DictionaryObject(
    {NameObject("/S"): NameObject("/JavaScript"), NameObject("/JS"): TextStringObject("app.alert('x')")}
)


def off_its_cells(image: Dataset) -> None:
    place = image.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0]
    x, y, z = place.ImagePositionPatient
    place.ImagePositionPatient = [x, y, float(z) + 1]


def without_its_last_frames(image: Dataset) -> None:
    """Only the first is left, which is on the rim."""
    del image.PerFrameFunctionalGroupsSequence[1:]
    image.NumberOfFrames, image.FloatPixelData = 1, image.FloatPixelData[: 4 * image.Rows * image.Columns]


def holding(page: Dataset, content: bytes) -> None:
    page.EncapsulatedDocumentLength = len(content)
    page.EncapsulatedDocument = content + bytes(len(content) % 2)


def rewritten(change: Callable[[PdfWriter], object]) -> Change:
    """Of the PDF within."""

    def changing(page: Dataset) -> None:
        writer = PdfWriter(clone_from=BytesIO(page.EncapsulatedDocument))
        change(writer)
        with BytesIO() as buffer:
            writer.write(buffer)
            holding(page, buffer.getvalue())

    return changing


def overprinted(text: str) -> Change:
    """The page says this, too."""
    over = FPDF()
    over.add_page()
    over.set_font("Helvetica", size=10)
    over.cell(text=text)
    words = PdfReader(BytesIO(bytes(over.output()))).pages[0]
    return rewritten(lambda writer: writer.pages[0].merge_page(words))


def of_another(request: Request) -> Change:
    """The page of another reading of three nodules, under the UID of this one."""

    def changing(page: Dataset) -> None:
        with TemporaryDirectory() as folder:
            holding(page, draw_page(request(reading(Path(folder), 3))))

    return changing


DAMAGES: dict[str, list[Damage]] = {
    "own-uids": [Damage(kind, setting(SeriesInstanceUID=STRANGER)) for kind in ResultKind],
    "file-meta": [
        Damage(SR, in_meta("TransferSyntaxUID", ImplicitVRLittleEndian)),
        Damage(SEG, in_meta("MediaStorageSOPInstanceUID", STRANGER)),
        Damage(SC, in_meta("MediaStorageSOPClassUID", MRImageStorage)),
    ],
    "type-1": [
        Damage(SEG, segment(SegmentLabel="")),
        Damage(SEG, deleting("DimensionIndexSequence")),
        Damage(SR, deleting("InstanceNumber")),
        Damage(SR, setting(Modality="OT")),
        Damage(SC, setting(ConversionType="")),
    ],
    "type-2": [
        Damage(SEG, deleting("ContentDescription")),
        Damage(SR, deleting("PerformedProcedureCodeSequence")),
        Damage(SC, deleting("InstanceNumber")),
    ],
    "values": [
        Damage(SR, setting(SeriesDescription="AI " + "x" * 62)),
        Damage(SC, setting(StationName="LONGER-THAN-16-CH")),
        Damage(SEG, setting(ContentLabel="lung nodules")),
        Damage(SC, setting(ImageComments="3 lung nodules found\x07")),
        Damage(SEG, setting(DeviceSerialNumber="one\\two")),
        Damage(SR, setting(InstanceCreationDate="20251301")),
        Damage(SR, setting(OperatorsName="x" * 65)),
        Damage(SR, in_first("Volume", more_digits_than_fit)),
    ],
    "patient-and-study": [
        Damage(SR, setting(PatientName="Somebody^Else")),
        Damage(SEG, setting(PatientID="TEST-0002")),
        Damage(SC, setting(AccessionNumber="")),
        Damage(SR, setting(PatientWeight="70")),
        Damage(SR, deleting("PatientAge"), not_analysed),
        Damage(SEG, setting(StudyInstanceUID=STRANGER)),
    ],
    "character-set": [Damage(SR, setting(SpecificCharacterSet="ISO_IR 144"))],
    "references": [
        Damage(SR, lambda report: one_more_image(evidence_of(report))),
        Damage(SEG, lambda image: one_more_image(sources_of(image))),
        Damage(SC, lambda image: setting(ReferencedSOPInstanceUID=STRANGER)(image.SourceImageSequence[0])),
    ],
    "reference-classes": [
        Damage(SC, lambda image: setting(ReferencedSOPClassUID=MRImageStorage)(image.SourceImageSequence[0])),
        Damage(SR, lambda report: setting(ReferencedSOPClassUID=MRImageStorage)(evidence_of(report)[0])),
    ],
    "evidence": [
        Damage(SR, lambda report: evidence_of(report).pop()),
        Damage(SEG, lambda image: sources_of(image).pop()),
    ],
    "predecessor": [Damage(SR, deleting("PredecessorDocumentsSequence"), successor)],
    "content-items": [
        Damage(SR, adding(content_item("TEXT", COMMENT, ""))),
        Damage(SR, in_first("Diameter", lambda item: delattr(item, "RelationshipType"))),
    ],
    "tid-1500": [
        Damage(SR, lambda report: setting(TemplateIdentifier="1501")(report.ContentTemplateSequence[0])),
        Damage(SR, lambda report: without(report, "Procedure reported")),
    ],
    "language": [
        Damage(SR, lambda report: without(report, "Language of Content Item and Descendants")),
        Damage(
            SR, in_first("Diameter", lambda item: setting(CodeMeaning="Durchmesser")(item.ConceptNameCodeSequence[0]))
        ),
        Damage(
            SR,
            in_first(
                "Language of Content Item and Descendants",
                setting(ConceptCodeSequence=[coded(Code("de", "RFC5646", "German"))]),
            ),
        ),
    ],
    "observer": [
        Damage(SR, in_first("Device Observer UID", setting(UID=STRANGER))),
        Damage(SR, lambda report: without(report, "Observer Type"), not_analysed),
    ],
    "unverified": [
        Damage(SR, setting(VerificationFlag="VERIFIED")),
        Damage(SR, setting(PreliminaryFlag="FINAL")),
    ],
    "title": [
        Damage(SR, setting(SeriesDescription="AI Lung Nodule SR [v1]"), not_analysed),
        Damage(SR, in_first("Comment", setting(TextValue="The images were read.")), not_analysed),
        Damage(SEG, setting(SeriesDescription="AI Lung Nodule NOT ANALYSED")),
        Damage(SC, setting(SeriesDescription="Lung Nodules")),
    ],
    "summary-code": [
        Damage(SR, in_first("CAD Processing and Findings Summary", setting(ConceptCodeSequence=[coded(ABSENT)]))),
    ],
    "limitations": [
        Damage(SR, lambda report: setting(TextValue="All is well.")(below(report, "Comment")[1]), partial),
        Damage(SR, lambda report: setting(TextValue="Reason: none.")(below(report, "Comment")[1]), not_analysed),
    ],
    "nothing-unread": [
        Damage(SR, adding(content_item("CODE", FINDING, NODULE)), not_analysed),
        Damage(SR, adding(content_item("NUM", Code("111406", "DCM", "Number of similar findings"), "0")), not_analysed),
    ],
    "no-false-negative": [
        Damage(SR, adding(content_item("TEXT", COMMENT, "No lung nodule seen.")), partial_without),
        Damage(SR, adding(content_item("TEXT", COMMENT, "No nodules were found.")), not_analysed),
        Damage(SR, adding(content_item("TEXT", COMMENT, "Keine Lungenrundherde nachweisbar.")), not_analysed),
        Damage(SR, in_unicode(adding(content_item("TEXT", COMMENT, "双肺未见明显结节。"))), partial_without),
        Damage(SR, adding(content_item("CODE", NODULE_OF_LUNG, ABSENT)), partial_without),
        Damage(SR, adding(content_item("CODE", LUNG_RADS, Code("RID50136", "RADLEX", "Lung-RADS 1"))), partial_without),
        Damage(SC, lambda image: setting(ImageComments=f"{image.ImageComments} No nodules found.")(image)),
    ],
    "negative": [
        Damage(SR, in_first("Nodule of lung", setting(ConceptCodeSequence=[coded(NODULE)])), negative),
        Damage(SR, adding(content_item("CODE", FINDING, NODULE)), negative),
    ],
    "count": [
        Damage(SR, in_first("Number of similar findings", numbered("4"))),
        Damage(SR, without_the_last_group),
        Damage(SR, in_first("Number of similar findings", numbered("1")), negative),
        Damage(SR, without_the_last_group, solid_part),
    ],
    "headline": [
        Damage(SR, in_first("Comment", setting(TextValue="2 lung nodules found (AI result)."))),
        Damage(SC, setting(ImageComments="1 lung nodule found (AI result).")),
        Damage(SR, in_first("Comment", setting(TextValue="1 lung nodule found.")), negative),
    ],
    "report-tracking": [
        Damage(SR, lambda report: setting(UID=STRANGER)(below(report, "Tracking Unique Identifier")[1])),
        Damage(SR, lambda report: setting(TextValue="N7")(below(report, "Tracking Identifier")[-1])),
    ],
    "referenced-segment": [
        Damage(
            SR,
            in_first(
                "Referenced Segment", lambda item: setting(ReferencedSegmentNumber=2)(item.ReferencedSOPSequence[0])
            ),
        )
    ],
    "kind": [
        Damage(SR, in_first("Attenuation Characteristic", setting(ConceptCodeSequence=[coded(NODULE)]))),
        Damage(SR, in_first("Laterality", setting(ConceptCodeSequence=[coded(Code("7771000", "SCT", "Left"))]))),
    ],
    "measurements": [
        Damage(SR, in_first("Diameter", numbered("99"))),
        Damage(SR, lambda report: numbered("99")(below(report, "Short axis")[-1])),
        Damage(SR, in_first("Attenuation Coefficient", lambda item: without(item, "Derivation"))),
        Damage(SR, in_first("Diameter", numbered("8")), sized(volume_mm3=None)),
    ],
    "units": [
        Damage(
            SR,
            in_first(
                name,
                in_centimetres,
            ),
        )
        for name in ("Diameter", "Long axis", "Volume", "Attenuation Coefficient")
    ],
    "outline": [
        Damage(SR, in_first("Image Region", lambda item: setting(GraphicData=[x + 1 for x in item.GraphicData])(item))),
    ],
    "solid-part": [
        Damage(SR, in_last("Tracking Unique Identifier", setting(UID=STRANGER)), solid_part),
        Damage(SR, in_last("Tracking Identifier", setting(TextValue="N1")), solid_part),
        Damage(SR, in_last("Diameter", numbered("7")), solid_part),
        Damage(SR, in_last("Diameter", in_centimetres), solid_part),
        Damage(SR, in_last("Diameter", lambda item: without(item, "Derivation")), solid_part),
        Damage(SR, in_last("Short axis", numbered("7")), solid_part),
        Damage(
            SR,
            in_last("Image Region", lambda item: setting(GraphicData=[x + 1 for x in item.GraphicData])(item)),
            solid_part,
        ),
    ],
    "change": [
        Damage(SR, in_first("Qualitative Difference", setting(ConceptCodeSequence=[coded(NODULE)])), compared),
        Damage(SR, in_first("Change of volume since the earlier exam", numbered("8")), compared),
        Damage(SR, in_first("Change of mean diameter since the earlier exam", numbered("-1.6")), compared),
        Damage(SR, in_first("Volume doubling time", numbered("400")), compared),
        Damage(SR, in_first("Time Point", setting(TextValue="yesterday")), compared),
        Damage(SR, lambda report: without(below(report, "Measurement Group")[1], "Volume doubling time"), compared),
        Damage(
            SR,
            lambda report: below(report, "Measurement Group")[1].ContentSequence.append(
                content_item("CODE", DIFFERENCE, GREW)
            ),
        ),
    ],
    "earlier-exam": [
        Damage(SR, saying_otherwise("Compared with the CT of"), compared),
        Damage(SR, saying_otherwise("Nodule of 2023-05-01 alone"), compared),
        Damage(SR, saying_otherwise("N1 since 2023-05-01"), compared),
        Damage(SR, saying_otherwise("Not compared with"), hindered),
        Damage(SR, saying_otherwise("They could not be fetched."), unfetched),
        Damage(SR, adding(content_item("TEXT", COMMENT, "Compared with the CT of 2020-01-01: 1 increased."))),
        Damage(SR, adding(content_item("TEXT", COMMENT, "Compared with the CT of 2020-01-01: 1 new.")), hindered),
    ],
    "earlier-images": [
        Damage(SR, deleting("PertinentOtherEvidenceSequence"), compared),
        Damage(SR, lambda report: other_images_of(report).pop(), compared),
        Damage(
            SR, lambda report: setattr(report.PertinentOtherEvidenceSequence[0], "StudyInstanceUID", "1.2"), compared
        ),
    ],
    "sane-sizes": [
        Damage(
            SR,
            lambda report: None,
            sized(mean_diameter_mm=200.0, long_axis_mm=210.0, short_axis_mm=190.0, volume_mm3=None),
        ),
        Damage(SR, lambda report: None, sized(volume_mm3=380000.0)),
        Damage(SR, lambda report: None, sized(long_axis_mm=5.0)),
        Damage(SR, lambda report: None, sized(mean_hu=-2000.0)),
        Damage(SR, lambda report: None, centred_elsewhere),
    ],
    "pixel-length": [
        Damage(SC, lambda image: setting(PixelData=image.PixelData[:-2])(image)),
        Damage(SC, lambda image: setting(PixelData=bytes(len(image.PixelData)))(image)),
        Damage(SEG, lambda image: setting(PixelData=image.PixelData + b"\0\0")(image)),
    ],
    "segments": [
        Damage(SEG, segment(SegmentAlgorithmType="MANUAL")),
        Damage(SEG, segment(SegmentNumber=7)),
    ],
    "segment-tracking": [Damage(SEG, segment(TrackingUID=STRANGER)), Damage(SEG, segment(TrackingID="N2"))],
    "space": [
        Damage(SEG, setting(FrameOfReferenceUID=STRANGER)),
        Damage(SEG, shared("PixelMeasuresSequence", PixelSpacing=[0.7, 0.8])),
        Damage(SEG, shared("PlaneOrientationSequence", ImageOrientationPatient=[0, 1, 0, 1, 0, 0])),
    ],
    "frames-on-slices": [Damage(SEG, off_the_slice), Damage(SEG, drawn_on_another_slice)],
    "empty-frames": [Damage(SEG, an_empty_frame)],
    "voxels": [Damage(SEG, one_voxel_more), Damage(SEG, segment_by_segment_turned)],
}
DAMAGES |= {
    "selection": [
        Damage(KOS, setting(ConceptNameCodeSequence=[coded(Code("113002", "DCM", "For Referring Provider"))])),
        Damage(KOS, lambda keys: setting(ConceptNameCodeSequence=[coded(FINDING)])(selected(keys)[0])),
        Damage(KOS, lambda keys: keys.ContentSequence.remove(selected(keys)[0])),
        Damage(KOS, in_first("Key Object Description", setting(TextValue="See these."))),
        Damage(KOS, lambda keys: setting(TemplateIdentifier="2011")(keys.ContentTemplateSequence[0])),
    ],
    "presentation": [
        Damage(GSPS, setting(ContentLabel="MARKS")),
        Damage(GSPS, setting(RescaleIntercept="0")),
        Damage(GSPS, lambda state: setting(WindowCenter="40")(state.SoftcopyVOILUTSequence[0])),
        Damage(GSPS, lambda state: state.ReferencedSeriesSequence[0].ReferencedImageSequence.pop()),
    ],
    "marks": [
        Damage(GSPS, moved_circle),
        Damage(GSPS, lambda state: setting(UnformattedTextValue="N3")(marks(state)[0].TextObjectSequence[0])),
        Damage(GSPS, marked_on_another_image),
        Damage(GSPS, lambda state: marks(state).pop()),
    ],
    "one-page": [
        Damage(PDF, setting(MIMETypeOfEncapsulatedDocument="text/xml")),
        Damage(PDF, setting(BurnedInAnnotation="YES")),
        Damage(PDF, setting(EncapsulatedDocumentLength=3)),
        Damage(PDF, rewritten(lambda writer: writer.add_attachment("more.txt", b"more"))),
        Damage(PDF, rewritten(lambda writer: writer.root_object.update({NameObject("/OpenAction"): RUNS}))),
        Damage(PDF, rewritten(lambda writer: writer.add_blank_page(100, 100))),
    ],
    "page-text": [
        Damage(PDF, of_another(sized(mean_diameter_mm=9.9))),
        Damage(PDF, of_another(half_said), partial),
        Damage(PDF, of_another(result_request), compared),
    ],
    "research": [
        Damage(PM, setting(ContentQualification="PRODUCT")),
        Damage(PM, setting(ContentCreatorName="")),
    ],
    "heat-space": [
        Damage(PM, setting(FrameOfReferenceUID=STRANGER)),
        Damage(PM, shared("PixelMeasuresSequence", PixelSpacing=[4, 5])),
        Damage(PM, shared("PlaneOrientationSequence", ImageOrientationPatient=[0, 1, 0, 1, 0, 0])),
    ],
    "scores": [
        Damage(PM, lambda image: setting(FloatPixelData=image.FloatPixelData[4:] + bytes(4))(image)),
        Damage(PM, off_its_cells),
        Damage(PM, without_its_last_frames),
    ],
    "page-outcome": [
        Damage(PDF, overprinted("No lung nodules were found."), not_analysed),
        Damage(PDF, overprinted("No lung nodule seen."), partial_without),
        Damage(PDF, overprinted("AI lung nodules: NO FINDINGS")),
        Damage(PDF, overprinted("NOT ANALYSED")),
    ],
}
EACH = [(name, number) for name, damages in DAMAGES.items() for number in range(len(damages))]


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return reading(tmp_path_factory.mktemp("three"), 3)


@pytest.fixture(scope="module")
def encoded(three: Reading) -> Callable[[Request, ResultKind], tuple[ResultRequest, EncodedResult]]:
    """A request and its first result of a kind, encoded once for all tests."""
    made: dict[tuple[Request, ResultKind], tuple[ResultRequest, EncodedResult]] = {}

    def first(request: Request, kind: ResultKind) -> tuple[ResultRequest, EncodedResult]:
        if (request, kind) not in made:
            asked = request(three)
            made[request, kind] = asked, encode(asked, kind)[0]
        return made[request, kind]

    return first


def names(result: EncodedResult, request: ResultRequest) -> list[str]:
    return [each.rule for each in broken_rules(result, request)]


@pytest.mark.parametrize(("rule", "number"), EACH)
def test_a_damaged_object_breaks_exactly_the_rule(
    rule: str, number: int, encoded: Callable[[Request, ResultKind], tuple[ResultRequest, EncodedResult]]
) -> None:
    damage = DAMAGES[rule][number]
    request, result = encoded(damage.request, damage.kind)
    found = broken_rules(changed(result, damage.change), request)
    assert [each.rule for each in found] == [rule], [str(each) for each in found]
    assert str(found[0]).startswith(f"{rule}: ")
    assert not any(value in str(found[0]) for value in ("TEST-0", "Nodus^Test", "Somebody", "ACC-1", STRANGER))


def test_what_is_no_dicom_file_or_ends_too_early_does_not_parse(three: Reading) -> None:
    request = result_request(three)
    (segmentation,), (report, *_) = encode(request, SEG), encode(request, SR)
    for data in (b"", report.data[132:], report.data[: len(report.data) // 2]):
        assert names(replace(report, data=data), request) == ["parses"]
    assert names(replace(segmentation, data=segmentation.data[:-1000]), request) == ["parses"]


def test_text_that_its_character_set_cannot_hold_does_not_parse(three: Reading) -> None:
    request = result_request(three)
    (report, *_) = encode(request, SR)
    spoiled = report.data.replace(b"ISO_IR 100", b"ISO_IR 192").replace(b"Nodus^Test", b"Nodus^T\xe9st")
    assert names(replace(report, data=spoiled), request) == ["parses"]


def test_a_segmentation_without_findings_is_refused_before_anything_else_is_asked(three: Reading) -> None:
    (segmentation,) = encode(result_request(three), SEG)
    assert names(segmentation, negative(three)) == ["no-empty-segmentation"]


def test_marks_without_findings_are_refused_before_anything_else_is_asked(three: Reading) -> None:
    for kind in (KOS, GSPS, PM):
        for result in encode(result_request(three), kind):
            assert names(result, negative(three)) == ["nothing-to-mark"]


def test_every_rule_has_a_name_of_its_own_and_is_seen_to_be_broken() -> None:
    all_names = [rule.name for rule in RULES]
    assert len(set(all_names)) == len(all_names)
    assert {*DAMAGES, "parses", "no-empty-segmentation", "nothing-to-mark"} == set(all_names)
    assert all(rule.says.endswith(".") for rule in RULES)


@pytest.mark.parametrize("name", CASES)
def test_nothing_that_is_encoded_breaks_a_rule(name: str, tmp_path: Path) -> None:
    count, scan, multi_frame, make = CASES[name]
    request = make(reading(tmp_path, count, scan, multi_frame))
    for result in encode_all(request):
        assert broken_rules(result, request) == (), (result.kind, result.sop_class_uid)


def test_a_report_that_replaces_another_and_one_without_volumes_break_no_rule(three: Reading) -> None:
    thick = tuple(replace(f, measurements=replace(f.measurements, volume_mm3=None)) for f in three.findings)
    for request in (successor(three), result_request(replace(three, findings=thick))):
        assert [each for result in encode_all(request) for each in broken_rules(result, request)] == []


def test_what_a_report_says_besides_breaks_no_rule(three: Reading) -> None:
    """Guidelines, risks and whatever comes later: rules ask for what must be there."""
    request = result_request(three)
    (report, *_) = encode(request, SR)

    def say_more(document: Dataset) -> None:
        examination, group, *_ = below(document, "Measurement Group")
        category = Code("RID50138", "RADLEX", "Lung-RADS 3")
        examination.ContentSequence.append(content_item("CODE", LUNG_RADS, category))
        group.ContentSequence.append(content_item("NUM", Code("111047", "DCM", "Probability of cancer"), "3.2"))
        group.ContentSequence.append(content_item("TEXT", COMMENT, "Fleischner 2017: CT at 6-12 months."))
        document.ContentSequence.append(content_item("TEXT", COMMENT, "Lung-RADS v2022: 3. Short term follow-up."))
        benign = content_item("NUM", Code("81827009", "SCT", "Diameter"), "5")
        group.ContentSequence.append(benign)

    assert names(changed(report, say_more), request) == []


def test_a_segmentation_of_other_masks_is_seen(three: Reading) -> None:
    """The bytes are valid; only what they were made from tells that they are wrong."""
    request = result_request(three)
    turned = replace(request, masks=(three.masks[1], three.masks[0], three.masks[2]))
    assert names(encode(turned, SEG)[0], request) == ["voxels"]


def test_results_of_another_reading_are_seen(three: Reading) -> None:
    request = result_request(three)
    other = replace(request, identity=replace(request.identity, weights_sha256="other"))
    for result in encode_all(other):
        assert "own-uids" in names(result, request)


def test_a_nodule_whose_size_is_not_finite_is_not_sane(three: Reading) -> None:
    (report, *_) = encode(result_request(three), SR)
    request = sized(mean_hu=float("nan"))(three)
    assert "sane-sizes" in names(report, request)


def test_a_rule_that_cannot_be_asked_is_broken(three: Reading) -> None:
    (segmentation,) = encode(result_request(three), SEG)
    bare = changed(segmentation, deleting("SegmentSequence"))
    found = {each.rule: each.places for each in broken_rules(bare, result_request(three))}
    assert "type-1" in found
    assert found["segments"] == ("cannot be told: AttributeError",)


def test_reasons_in_a_notice_may_be_any(three: Reading) -> None:
    for reason in ("The images were removed.", 'Broken: "x" <y> 100 %.', "x" * 300):
        request = not_analysed(three, reason)
        assert [each for result in encode_all(request) for each in broken_rules(result, request)] == []
    several = replace(not_analysed(three), conclusion=Conclusion(Outcome.NOT_ANALYSED, ("One.", "Two.")))
    assert [each for result in encode_all(several) for each in broken_rules(result, several)] == []


def test_a_shadow_reading_without_its_warning_breaks_rules(three: Reading) -> None:
    usual, shadow = (result_request(three, shadow=shadow) for shadow in (False, True))
    for result in encode_all(usual):
        assert {"title"} <= {each.rule for each in broken_rules(result, shadow)}
    for result in encode_all(shadow):
        assert {"title"} <= {each.rule for each in broken_rules(result, usual)}


def test_another_rung_with_the_same_bytes_is_asked_for_its_own_uids_and_one_with_others_for_everything(
    three: Reading,
) -> None:
    request = result_request(three)
    first, second, _ = encode(request, SR)
    assert broken_rules(second, request, first) == ()
    for change, rule in (
        (setting(SeriesInstanceUID=STRANGER), "own-uids"),
        (in_meta("MediaStorageSOPInstanceUID", STRANGER), "file-meta"),
        (setting(PatientID="TEST-0002"), "patient-and-study"),
        (in_first("Diameter", numbered("99")), "measurements"),
    ):
        assert [each.rule for each in broken_rules(changed(second, change), request, first)] == [rule]
