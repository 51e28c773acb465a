"""Independent validators and readers accept every result: dicom3tools, DCMTK, dcmqi."""

import re
import subprocess
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset

from node.domain.outcome import Conclusion, Outcome
from tests import dcmqi
from tests.builders import Scan
from tests.peers import require
from tests.readings import Reading, not_analysed, reading, result_request
from workers.results import SR_LADDER, ResultRequest, encode_all, encode_seg, encode_sr

PARTIAL = Conclusion(
    Outcome.PARTIAL, ("The bases of the lungs were not scanned.", "The images are very noisy (140 HU).")
)
ALLOWED = (
    "99NODUS",  # a private scheme is unknown to any validator
    "needed to build DICOMDIR",
    "Retired Person Name form",
)


def without_accession(found: Reading) -> ResultRequest:
    headers = deepcopy(found.series.headers)
    for header in headers:
        del header.AccessionNumber
    return result_request(found, headers=headers)


def with_order(found: Reading) -> ResultRequest:
    headers, order = deepcopy(found.series.headers), Dataset()
    order.RequestedProcedureID, order.ScheduledProcedureStepID = "RP-1", "SPS-1"
    for header in headers:
        header.RequestAttributesSequence = [order]
    return result_request(found, headers=headers)


def twenty(found: Reading) -> ResultRequest:
    many = tuple(replace(found.findings[n % 3], ordinal=n + 1) for n in range(20))
    return result_request(Reading(found.series, many, tuple(found.masks[n % 3] for n in range(20))))


CASES: dict[str, tuple[int, Scan, bool, Callable[[Reading], ResultRequest]]] = {
    "no nodule": (0, Scan(), False, result_request),
    "one nodule": (1, Scan(), False, result_request),
    "three nodules": (3, Scan(), False, result_request),
    "twenty nodules": (3, Scan(), False, twenty),
    "partial without nodules": (0, Scan(), False, lambda found: result_request(found, PARTIAL)),
    "partial with nodules": (2, Scan(), False, lambda found: result_request(found, PARTIAL)),
    "more nodules than named": (2, Scan(), False, lambda found: result_request(found, PARTIAL, more_findings=True)),
    "not analysed": (0, Scan(), False, not_analysed),
    "enhanced CT": (3, Scan(), True, result_request),
    "enhanced CT without nodules": (0, Scan(), True, result_request),
    "thick slices": (2, Scan(spacing_zyx_mm=(3.0, 0.7, 0.7)), False, result_request),
    "Japanese name": (
        1,
        Scan(name="Yamada^Tarou=山田^太郎=やまだ^たろう", charset="ISO_IR 192"),
        False,
        result_request,
    ),
    "Korean name": (1, Scan(name="Hong^Gildong=洪^吉洞", charset="\\ISO 2022 IR 149"), False, result_request),
    "no accession number": (1, Scan(), False, without_accession),
    "with an order": (1, Scan(), False, with_order),
    "oblique": (1, Scan(orientation=(0.96, 0.28, 0, -0.28, 0.96, 0)), False, result_request),
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Every case encoded once: the paths of its results."""
    written: dict[str, list[Path]] = {}
    for name, (count, scan, multi_frame, request) in CASES.items():
        folder = tmp_path_factory.mktemp("case")
        found = reading(folder / "ct", count, scan, multi_frame)
        for result in encode_all(request(found)):
            path = folder / f"{result.kind}-{result.sop_class_uid}.dcm"
            path.write_bytes(result.data)
            written.setdefault(name, []).append(path)
    return written


def output(program: str, package: str, *arguments: str | Path) -> str:
    """What a program of others prints, both streams; names in other scripts may be in any encoding."""
    command = [require(program, package), *map(str, arguments)]
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert program.endswith("vfy") or run.returncode == 0, run.stdout
    return run.stdout


def complaints(path: Path) -> list[str]:
    """What dciodvfy has against a file, less what is allowed."""
    lines = output("dciodvfy", "dicom3tools", "-new", path).splitlines()
    assert not any("not found" in line for line in lines), lines
    return [line for line in lines if re.match("Error|Warning", line) and not any(word in line for word in ALLOWED)]


@pytest.mark.parametrize("name", CASES)
def test_dciodvfy_has_nothing_against_any_result_of(name: str, cases: dict[str, list[Path]]) -> None:
    for path in cases[name]:
        found = complaints(path)
        assert not [line for line in found if line.startswith("Error")], path.name
        assert not [line for line in found if "Value dubious" not in line], path.name


def test_dciodvfy_would_have_complained(cases: dict[str, list[Path]], tmp_path: Path) -> None:
    report = next(path for path in cases["one nodule"] if path.name.startswith("SR"))
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(report.read_bytes().replace(b"UNVERIFIED", b"UNVERIFIAB"))
    assert any(line.startswith("Error") for line in complaints(broken))


def test_the_synthetic_scan_is_a_valid_ct_itself(cases: dict[str, list[Path]]) -> None:
    assert not complaints(next((cases["one nodule"][0].parent / "ct").iterdir()))


@pytest.mark.parametrize("name", ["three nodules", "enhanced CT", "Japanese name"])
def test_dcentvfy_finds_results_and_images_of_one_patient_and_study(name: str, cases: dict[str, list[Path]]) -> None:
    images = sorted((cases[name][0].parent / "ct").iterdir())
    lines = output("dcentvfy", "dicom3tools", *images, *cases[name]).splitlines()
    found = [line for line in lines if re.match("Error|Warning", line)]
    assert not [line for line in found if "Different information entities" not in line]


@pytest.mark.parametrize("name", CASES)
def test_dsrdump_shows_the_sentences_for_people_before_the_tree_for_machines(
    name: str, cases: dict[str, list[Path]]
) -> None:
    for path in cases[name]:
        if path.name.startswith("SR"):
            tree = output("dsrdump", "dcmtk", "+Pl", path)
            assert "UNVERIFIED" in tree
            assert "PRELIMINARY" in tree
            first = tree.index('"Comment")="')
            assert first < tree.index('"Imaging Measurements"')
            assert ("NOT ANALYSED" if name == "not analysed" else "lung nodule") in tree[first : first + 90]


@pytest.mark.parametrize("multi_frame", [False, True])
def test_dcmqi_reads_back_each_voxel_of_each_mask(multi_frame: bool, tmp_path: Path) -> None:
    found = reading(tmp_path / "ct", 3, multi_frame=multi_frame)
    path = tmp_path / "seg.dcm"
    path.write_bytes(encode_seg(result_request(found)).data)
    volume = found.series.volume
    read_back = dcmqi.segments(path, tmp_path / "masks", volume)
    for lps, mask in zip(read_back, found.masks, strict=True):
        expected = volume.to_lps_mm(np.argwhere(mask.voxels) + np.array(mask.offset_zyx, float))
        assert len(lps) == len(expected)
        assert np.abs(lps[np.lexsort(lps.T)] - expected[np.lexsort(expected.T)]).max() < 1e-3


@pytest.mark.parametrize("rung", SR_LADDER)
def test_dcmqi_reads_the_measurements_as_they_were_made(rung: str, tmp_path: Path) -> None:
    found = reading(tmp_path / "ct", 3)
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode_sr(result_request(found), rung).data)
    groups = dcmqi.measurement_groups(path, tmp_path)
    assert list(groups) == ["N1", "N2", "N3"]
    for finding in found.findings:
        group, sizes = groups[finding.label], finding.measurements
        values = dcmqi.values(group)
        assert group["ReferencedSegment"] == finding.ordinal
        assert values["Diameter"] == sizes.mean_diameter_mm
        assert values["Volume"] == sizes.volume_mm3
        assert values["Attenuation Coefficient"] == sizes.mean_hu


def test_dcmtk_converts_the_summary_picture(cases: dict[str, list[Path]], tmp_path: Path) -> None:
    picture = next(path for path in cases["three nodules"] if path.name.startswith("SC"))
    target = tmp_path / "summary.ppm"
    output("dcm2pnm", "dcmtk", picture, target)
    assert target.read_bytes()[:2] == b"P6"
