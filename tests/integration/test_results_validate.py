"""Independent validators and readers accept every result: dicom3tools, DCMTK, dcmqi."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from node.domain.exam import Purpose
from tests import dcmqi
from tests.peers import require
from tests.readings import reading, result_request
from tests.result_cases import CASES, by_rule
from workers.results import SR_LADDER, encode_all, encode_seg, encode_sr

ALLOWED = (
    "99NODUS",  # a private scheme is unknown to any validator
    "needed to build DICOMDIR",
    "Retired Person Name form",
    "Unrecognized defined term = <QUANTITY>",  # newer than the validator
)


SAID_FIRST = {
    "not analysed": "NOT ANALYSED",
    "in shadow": "SHADOW READING",
    "in Chinese": "发现3个肺结节",
    "in German": "Lungenrundherde gefunden",
    "solid part, in Chinese": "发现1个肺结节",
    "solid part, in German": "Lungenrundherd gefunden",
    "not analysed, in German": "NICHT AUSGEWERTET",
}


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Path]]:
    """Every case encoded once: the paths of its results."""
    written: dict[str, list[Path]] = {}
    for name, (count, scan, multi_frame, request) in CASES.items():
        folder = tmp_path_factory.mktemp("case")
        found = reading(folder / "ct", count, scan, multi_frame)
        for number, result in enumerate(encode_all(request(found))):
            path = folder / f"{result.kind}-{number}.dcm"
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


ENTITIES = (
    *("no nodule", "one nodule", "three nodules", "twenty nodules", "enhanced CT", "Japanese name", "Korean name"),
    *("no accession number", "in Chinese", "in German", "not analysed"),
)


@pytest.mark.parametrize("name", ENTITIES)
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
            tree = output("dsrdump", "dcmtk", "+Pl", "+Pc", path)
            assert "UNVERIFIED" in tree
            assert "PRELIMINARY" in tree
            first = tree.index("(121106,DCM,")
            assert first < tree.index("(126010,DCM,")
            assert SAID_FIRST.get(name, "lung nodule") in tree[first : first + 110]


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


def test_dcmqi_reads_both_bounds_of_a_risk_and_the_measurements_beside_them(tmp_path: Path) -> None:
    request = by_rule(reading(tmp_path / "ct", 1), Purpose.SCREENING)
    path = tmp_path / "sr.dcm"
    path.write_bytes(encode_sr(request).data)
    group, guidance = dcmqi.measurement_groups(path, tmp_path)["N1"], request.guidance_on(request.findings[0])
    assert guidance is not None
    assert guidance.risk is not None
    bounds = [
        (float(item["value"]), item["derivationModifier"]["CodeMeaning"])
        for item in group["measurementItems"]
        if item["quantity"]["CodeMeaning"] == "Probability of cancer"
    ]
    assert bounds == [
        (round(guidance.risk.lower * 100, 1), "Minimum"),
        (round(guidance.risk.upper * 100, 1), "Maximum"),
    ]
    assert dcmqi.values(group)["Diameter"] == request.findings[0].measurements.mean_diameter_mm


def test_dcmtk_converts_the_summary_picture(cases: dict[str, list[Path]], tmp_path: Path) -> None:
    picture = next(path for path in cases["three nodules"] if path.name.startswith("SC"))
    target = tmp_path / "summary.ppm"
    output("dcm2pnm", "dcmtk", picture, target)
    assert target.read_bytes()[:2] == b"P6"
