"""What the results say, and that they say it the same way twice."""

from copy import deepcopy
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, SegmentationStorage

from node.domain.outcome import Conclusion, Outcome
from node.errors import AnalysisError
from tests.builders import Scan
from tests.readings import Reading, not_analysed, reading, result_request
from workers.results import (
    SR_LADDER,
    EncodedResult,
    Predecessor,
    ResultRequest,
    encode_all,
    encode_secondary_capture,
    encode_seg,
    encode_sr,
)

PARTIAL = Conclusion(Outcome.PARTIAL, ("The bases of the lungs were not scanned.",))


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return reading(tmp_path_factory.mktemp("three"), 3)


@pytest.fixture(scope="module")
def none(tmp_path_factory: pytest.TempPathFactory) -> Reading:
    return reading(tmp_path_factory.mktemp("none"), 0)


def parsed(result: EncodedResult) -> Dataset:
    return dcmread(BytesIO(result.data))


def items(container: Dataset, meaning: str) -> list[Dataset]:
    """Content items below `container` with this concept name, in document order."""
    found = []
    for item in container.get("ContentSequence", []):
        if item.get("ConceptNameCodeSequence") and item.ConceptNameCodeSequence[0].CodeMeaning == meaning:
            found.append(item)
        found += items(item, meaning)
    return found


def number(group: Dataset, meaning: str) -> float:
    (item,) = items(group, meaning)
    return float(item.MeasuredValueSequence[0].NumericValue)


def code(item: Dataset) -> str:
    return str(item.ConceptCodeSequence[0].CodeValue)


def comments(document: Dataset) -> list[str]:
    return [item.TextValue for item in document.ContentSequence if item.ValueType == "TEXT" and item.get("TextValue")][
        4:
    ]


@pytest.mark.parametrize("count", [0, 3])
def test_encoding_twice_gives_the_same_bytes(count: int, three: Reading, none: Reading) -> None:
    request = result_request(three if count else none)
    assert [result.data for result in encode_all(request)] == [result.data for result in encode_all(request)]


def test_results_of_another_identity_have_other_uids(three: Reading) -> None:
    first = result_request(three)
    second = replace(first, identity=replace(first.identity, weights_sha256="other"))
    for one, other in zip(encode_all(first), encode_all(second), strict=True):
        assert one.sop_instance_uid != other.sop_instance_uid
        assert one.series_instance_uid != other.series_instance_uid


def test_all_results_are_delivered_in_order_and_each_has_its_own_series(three: Reading, none: Reading) -> None:
    results = encode_all(result_request(three))
    assert [result.kind for result in results] == ["SEG", *["SR"] * 3, *["KOS"] * 8, "GSPS", "PDF", "SC", "PM"]
    assert len({result.sop_instance_uid for result in results}) == len(results)
    assert len({result.series_instance_uid for result in results}) == len({result.sop_class_uid for result in results})
    assert [result.kind for result in encode_all(result_request(none))] == ["SR", "SR", "SR", "PDF", "SC"]
    assert [result.kind for result in encode_all(not_analysed(none))] == ["SR", "SR", "SR", "PDF"]
    for result in results:
        document = parsed(result)
        assert document.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert (document.SOPClassUID, document.SOPInstanceUID) == (result.sop_class_uid, result.sop_instance_uid)
        assert document.file_meta.MediaStorageSOPInstanceUID == document.SOPInstanceUID
        assert document.SeriesInstanceUID == result.series_instance_uid
        assert document.SeriesDescription.startswith("AI Lung Nodule ")
        assert len(document.SeriesDescription) <= 64
    assert {int(parsed(result).SeriesNumber) for result in results} == set(range(9001, 9008))


def test_the_report_is_preliminary_unverified_and_complete(three: Reading) -> None:
    document = parsed(encode_sr(result_request(three)))
    flags = (document.PreliminaryFlag, document.VerificationFlag, document.CompletionFlag)
    assert flags == ("PRELIMINARY", "UNVERIFIED", "COMPLETE")
    assert document.ContentTemplateSequence[0].TemplateIdentifier == "1500"
    assert code(items(document, "Observer Type")[0]) == "121007"
    assert items(document, "Device Observer Name")[0].TextValue == "NODUS"


def test_every_rung_of_the_ladder_has_the_same_tree(three: Reading) -> None:
    documents = [parsed(encode_sr(result_request(three), rung)) for rung in SR_LADDER]
    assert len({document.SOPInstanceUID for document in documents}) == 3
    assert documents[0].ContentSequence == documents[1].ContentSequence == documents[2].ContentSequence


def test_the_report_opens_with_what_a_reader_must_know(three: Reading) -> None:
    conclusion = Conclusion(Outcome.PARTIAL, ("The bases of the lungs were not scanned.",))
    lines = comments(parsed(encode_sr(result_request(three, conclusion))))
    size = three.findings[0].measurements.mean_diameter_mm
    assert lines[0].startswith("3 lung nodules found in the part that could be assessed (AI result, unverified, prelim")
    assert f"Largest: N1, solid, right lung, mean diameter {size:.1f} mm." in lines[0]
    assert lines[1] == "Not assessed or limited: The bases of the lungs were not scanned."
    assert lines[2] == "Model nodus-lung 1.0.0, read 28 images of series 3."
    key = three.findings[1].key_image
    assert lines[4].startswith("N2: ground-glass, left lung")
    assert lines[4].endswith(f"series 3 image {key.instance_number}")


def test_a_report_that_does_not_hold_every_nodule_never_counts_them_all(three: Reading, none: Reading) -> None:
    told = result_request(three, Conclusion(Outcome.PARTIAL, ("More than 3 nodules were found.",)), more_findings=True)
    document = parsed(encode_sr(told))
    assert comments(document)[0].startswith("At least 3 lung nodules found")
    assert not items(document, "Number of similar findings")
    assert parsed(encode_secondary_capture(told)).ImageComments.startswith("At least 3 lung nodules found")
    nothing = result_request(none, Conclusion(Outcome.PARTIAL, ("More than 3 were found.",)), more_findings=True)
    assert comments(parsed(encode_sr(nothing)))[0].startswith("No lung nodule could be assessed of those found (AI")
    whole = parsed(encode_sr(result_request(three)))
    assert number(whole, "Number of similar findings") == 3


def test_each_nodule_has_its_measurements_with_units_and_derivation(three: Reading) -> None:
    document = parsed(encode_sr(result_request(three)))
    groups = [g for g in items(document, "Measurement Group") if items(g, "Referenced Segment")]
    for finding, group in zip(three.findings, groups, strict=True):
        sizes = finding.measurements
        assert items(group, "Tracking Identifier")[0].TextValue == finding.label
        assert number(group, "Diameter") == sizes.mean_diameter_mm
        assert number(group, "Long axis") == sizes.long_axis_mm
        assert number(group, "Short axis") == sizes.short_axis_mm
        assert number(group, "Volume") == sizes.volume_mm3
        assert number(group, "Attenuation Coefficient") == sizes.mean_hu
        assert number(group, "Certainty of Finding") == pytest.approx(finding.confidence * 100)
        assert [code(item) for item in items(items(group, "Diameter")[0], "Derivation")] == ["373098007"]
        assert [code(item) for item in items(items(group, "Volume")[0], "Measurement Method")] == ["PVRIM"]
        assert items(group, "Algorithm Version")[0].TextValue == "1.0.0"
    sides = [[code(item) for item in items(group, "Laterality")] for group in groups]
    assert sides == [["24028007"], ["7771000"], []]
    types = [code(items(group, "Attenuation Characteristic")[0]) for group in groups]
    assert types == ["RID50151", "RID50153", "RID50151"]
    assert [len(items(group, "Abnormal calcifications")) for group in groups] == [0, 0, 1]
    assert document.CodingSchemeIdentificationSequence[0].CodingSchemeDesignator == "99NODUS"


def test_a_volume_that_was_not_measured_is_left_out(three: Reading) -> None:
    thick = tuple(replace(f, measurements=replace(f.measurements, volume_mm3=None)) for f in three.findings)
    document = parsed(encode_sr(result_request(replace(three, findings=thick))))
    assert not items(document, "Volume")
    assert "CodingSchemeIdentificationSequence" not in document
    assert "volume not measured" in comments(document)[2]


def test_report_and_segmentation_name_each_nodule_alike(three: Reading) -> None:
    request = result_request(three)
    report, segmentation = parsed(encode_sr(request)), parsed(encode_seg(request))
    groups = [g for g in items(report, "Measurement Group") if items(g, "Referenced Segment")]
    for group, segment in zip(groups, segmentation.SegmentSequence, strict=True):
        reference = items(group, "Referenced Segment")[0].ReferencedSOPSequence[0]
        assert reference.ReferencedSOPInstanceUID == segmentation.SOPInstanceUID
        assert reference.ReferencedSegmentNumber == segment.SegmentNumber
        assert segment.TrackingUID == items(group, "Tracking Unique Identifier")[0].UID
        assert items(group, "Tracking Identifier")[0].TextValue == segment.TrackingID


def test_each_nodule_is_outlined_on_its_key_image(three: Reading) -> None:
    document = parsed(encode_sr(result_request(three)))
    groups = [g for g in items(document, "Measurement Group") if items(g, "Image Region")]
    for finding, group in zip(three.findings, groups, strict=True):
        (region,) = items(group, "Image Region")
        points = np.array(region.GraphicData).reshape(-1, 2)
        assert region.GraphicType == "POLYLINE"
        assert points[0] == pytest.approx(points[-1])
        assert points[:-1] == pytest.approx(np.array(finding.key_image.outline))
        source = region.ContentSequence[0].ReferencedSOPSequence[0]
        assert source.ReferencedSOPInstanceUID == finding.key_image.sop_instance_uid


def test_every_image_read_and_the_segmentation_are_evidence(three: Reading) -> None:
    request = result_request(three)
    document = parsed(encode_sr(request))
    (study,) = document.CurrentRequestedProcedureEvidenceSequence
    uids = [i.ReferencedSOPInstanceUID for s in study.ReferencedSeriesSequence for i in s.ReferencedSOPSequence]
    assert uids == [*(header.SOPInstanceUID for header in request.headers), request.seg_uid]
    assert "PertinentOtherEvidenceSequence" not in document


def test_a_negative_report_says_absent_and_has_no_finding(none: Reading) -> None:
    document = parsed(encode_sr(result_request(none)))
    assert code(items(document, "CAD Processing and Findings Summary")[0]) == "111241"
    assert number(document, "Number of similar findings") == 0
    assert code(items(document, "Nodule of lung")[0]) == "272519000"
    assert not items(document, "Finding")
    assert comments(document)[0] == "No lung nodule found (AI result, unverified, preliminary)."


@pytest.mark.parametrize(("count", "summary"), [(0, "111243"), (3, "111244")])
def test_a_partial_report_is_never_a_plain_negative(count: int, summary: str, three: Reading, none: Reading) -> None:
    document = parsed(encode_sr(result_request(three if count else none, PARTIAL)))
    assert code(items(document, "CAD Processing and Findings Summary")[0]) == summary
    assert not items(document, "Nodule of lung")
    assert any("bases of the lungs" in line for line in comments(document))


def test_a_study_that_was_not_analysed_cannot_be_taken_for_a_negative(three: Reading) -> None:
    document = parsed(encode_sr(not_analysed(three, "The slices are unevenly spaced: images are missing.")))
    assert code(items(document, "CAD Processing and Findings Summary")[0]) == "111245"
    for meaning in ("Number of similar findings", "Nodule of lung", "Finding", "Finding Site"):
        assert not items(document, meaning)
    lines = comments(document)
    assert lines[0].startswith("AI lung nodule: NOT ANALYSED.")
    assert lines[1] == "Reason: The slices are unevenly spaced: images are missing."
    assert "NOT ANALYSED" in document.SeriesDescription


def test_a_report_that_contradicts_itself_is_not_written(three: Reading, none: Reading) -> None:
    with pytest.raises(AnalysisError, match="findings"):
        result_request(three, Conclusion(Outcome.NO_FINDINGS))
    with pytest.raises(AnalysisError, match="findings"):
        result_request(none, Conclusion(Outcome.FINDINGS))
    with pytest.raises(AnalysisError, match="findings"):
        result_request(three, Conclusion(Outcome.NOT_ANALYSED))
    with pytest.raises(AnalysisError, match="has a volume"):
        result_request(none, volume=None)
    with pytest.raises(AnalysisError, match="mask for each"):
        result_request(three, masks=three.masks[:2])
    with pytest.raises(AnalysisError, match="with its zone"):
        result_request(three, created=datetime(2025, 1, 1))
    with pytest.raises(AnalysisError, match="numbered from 1"):
        result_request(three, findings=three.findings[::-1])
    with pytest.raises(AnalysisError, match="at least one finding"):
        encode_seg(result_request(none))


def test_a_successor_names_the_report_it_replaces(three: Reading) -> None:
    earlier = Predecessor(three.series.headers[0].StudyInstanceUID, "1.2.3", SR_LADDER[1], "1.2.4")
    request = result_request(three, predecessors={SR_LADDER[1]: earlier})
    assert "PredecessorDocumentsSequence" not in parsed(encode_sr(request, SR_LADDER[0]))
    (study,) = parsed(encode_sr(request, SR_LADDER[1])).PredecessorDocumentsSequence
    (series,) = study.ReferencedSeriesSequence
    assert (series.SeriesInstanceUID, series.ReferencedSOPSequence[0].ReferencedSOPInstanceUID) == ("1.2.3", "1.2.4")


def masks_in(segmentation: Dataset, request: ResultRequest) -> np.ndarray:
    """Decode a SEG into (segments, z, y, x) on the volume, by position."""
    assert request.volume is not None
    found = np.zeros((len(request.masks), *request.volume.hu.shape), bool)
    for frame, groups in zip(segmentation.pixel_array, segmentation.PerFrameFunctionalGroupsSequence, strict=True):
        position = np.array([groups.PlanePositionSequence[0].ImagePositionPatient], float)
        z = request.volume.to_zyx(position)[0]
        assert z == pytest.approx(np.rint(z), abs=1e-4)
        segment = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        found[segment - 1, round(z[0])] = frame
    return found


@pytest.mark.parametrize("multi_frame", [False, True])
def test_the_segmentation_holds_each_voxel_of_each_mask(multi_frame: bool, tmp_path: Path) -> None:
    found = reading(tmp_path, 3, multi_frame=multi_frame)
    request = result_request(found)
    segmentation = parsed(encode_seg(request))
    decoded = masks_in(segmentation, request)
    for segment, mask in zip(decoded, found.masks, strict=True):
        full = np.zeros_like(segment)
        full[tuple(slice(s, s + n) for s, n in zip(mask.offset_zyx, mask.voxels.shape, strict=True))] = mask.voxels
        assert (segment == full).all()
    assert segmentation.NumberOfFrames == sum(int(mask.voxels.any((1, 2)).sum()) for mask in found.masks)
    assert segmentation.FrameOfReferenceUID == found.series.headers[0].FrameOfReferenceUID


def test_overlapping_masks_stay_apart(three: Reading) -> None:
    same = replace(three, masks=(three.masks[0], three.masks[0], three.masks[2]))
    request = result_request(same)
    segmentation = parsed(encode_seg(request))
    decoded = masks_in(segmentation, request)
    assert (decoded[0] == decoded[1]).all()
    assert segmentation.SegmentsOverlap == "YES"


@pytest.mark.parametrize("multi_frame", [False, True])
def test_each_frame_names_the_slice_it_was_drawn_on(multi_frame: bool, tmp_path: Path) -> None:
    found = reading(tmp_path, 2, multi_frame=multi_frame)
    segmentation = parsed(encode_seg(result_request(found)))
    volume = found.series.volume
    for groups in segmentation.PerFrameFunctionalGroupsSequence:
        z = volume.to_zyx(np.array([groups.PlanePositionSequence[0].ImagePositionPatient], float))[0][0]
        image = groups.DerivationImageSequence[0].SourceImageSequence[0]
        source = volume.slices[round(z)]
        assert image.ReferencedSOPInstanceUID == source.sop_instance_uid
        assert image.ReferencedSOPClassUID == source.sop_class_uid
        assert image.get("ReferencedFrameNumber") == source.frame_number
    (series,) = segmentation.ReferencedSeriesSequence
    assert len(series.ReferencedInstanceSequence) == len(found.series.headers)


def test_an_outline_on_an_enhanced_image_names_its_frame(tmp_path: Path) -> None:
    found = reading(tmp_path, 1, multi_frame=True)
    document = parsed(encode_sr(result_request(found)))
    source = items(document, "Image Region")[0].ContentSequence[0].ReferencedSOPSequence[0]
    assert source.ReferencedFrameNumber == found.findings[0].key_image.frame_number
    assert comments(document)[2].endswith(f"frame {source.ReferencedFrameNumber}")


def test_the_summary_picture_is_a_plain_colour_image_without_the_patient(three: Reading) -> None:
    document = parsed(encode_secondary_capture(result_request(three)))
    assert document.SOPClassUID == SecondaryCaptureImageStorage
    assert document.pixel_array.shape == (document.Rows, document.Columns, 3)
    assert document.BurnedInAnnotation == "NO"
    assert document.ImageType == ["DERIVED", "SECONDARY"]
    assert document.ImageComments.startswith("3 lung nodules found (AI result, unverified, preliminary).")


def test_the_summary_picture_changes_with_outline_and_table_but_not_with_the_patient(tmp_path: Path) -> None:
    one = reading(tmp_path / "a", 1)
    other = reading(tmp_path / "b", 1, Scan(name="Somebody^Else", study="2"))
    pictures = [parsed(encode_secondary_capture(result_request(found))).pixel_array for found in (one, other)]
    assert (pictures[0] == pictures[1]).all()
    bigger = replace(one.findings[0], measurements=replace(one.findings[0].measurements, mean_diameter_mm=11.1))
    changed = parsed(encode_secondary_capture(result_request(replace(one, findings=(bigger,))))).pixel_array
    assert (changed != pictures[0]).any()


def test_more_nodules_than_fit_are_counted_on_the_picture(three: Reading) -> None:
    many = tuple(replace(three.findings[n % 3], ordinal=n + 1) for n in range(20))
    crowd = Reading(three.series, many, tuple(three.masks[n % 3] for n in range(20)))
    picture = parsed(encode_secondary_capture(result_request(crowd)))
    assert picture.Rows < 2100
    assert parsed(encode_seg(result_request(crowd))).SegmentSequence[19].SegmentNumber == 20


def test_dates_and_times_are_the_time_of_creation_in_the_time_zone_of_the_study(three: Reading) -> None:
    created = datetime(2025, 3, 4, 23, 30, 0, tzinfo=UTC)
    document = parsed(encode_sr(result_request(three, created=created)))
    for name in ("InstanceCreation", "Content", "Series"):
        assert (document[f"{name}Date"].value, document[f"{name}Time"].value) == ("20250304", "233000.000000")
    assert document.StudyDate == "20240203"
    for offset, date, time in (("+0200", "20250305", "013000.000000"), ("-0330", "20250304", "200000.000000")):
        zoned = deepcopy(three.series.headers)
        for header in zoned:
            header.TimezoneOffsetFromUTC = offset
        moved = parsed(encode_sr(result_request(three, created=created, headers=zoned)))
        assert (moved.ContentDate, moved.ContentTime, moved.TimezoneOffsetFromUTC) == (date, time, offset)
    east = created.astimezone(timezone(timedelta(hours=5)))
    assert parsed(encode_sr(result_request(three, created=east))).ContentTime == "043000.000000"


def test_equipment_is_the_node_with_the_scanner_as_contributor(three: Reading) -> None:
    for result in encode_all(result_request(three)):
        document = parsed(result)
        assert (document.Manufacturer, document.ManufacturerModelName) == ("Nodus", "Nodus")
        assert document.DeviceSerialNumber == "installation-1"
        assert list(document.SoftwareVersions) == ["1.0.0", "nodus-lung 1.0.0"]
        purposes = [i.PurposeOfReferenceCodeSequence[0].CodeValue for i in document.ContributingEquipmentSequence]
        assert purposes == ["109101", "109102"]
    assert document.ContributingEquipmentSequence[0].Manufacturer == "Maker"


def test_only_the_result_of_its_own_class_is_a_segmentation(three: Reading) -> None:
    assert encode_seg(result_request(three)).sop_class_uid == SegmentationStorage
    with pytest.raises(AnalysisError, match="not an SR class"):
        encode_sr(result_request(three), str(SegmentationStorage))
