"""DICOM series below a folder, and the table that knows their nodules."""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from node.domain.eligibility import Level, judge
from node.domain.instance import InstanceHeader
from node.errors import SettingsError
from workers import pipeline
from workers.assessment.groups import groups_of_headers, noise_group
from workers.assessment.scan import EVERY_SCORE, Nodule, Scan, Source, attempt
from workers.assessment.truth import Nodules, read_truth
from workers.folders import series_below


def folder_source(folder: Path, truth: Path) -> Source:
    """The series that the table names. Raises SettingsError where one of them is not below the folder."""
    nodules = read_truth(truth)
    found = series_below(folder)
    if not found:
        raise SettingsError(f"There is no DICOM file below {folder}.")
    if not nodules:
        raise SettingsError(f"{truth} names no series.")
    absent = [uid for uid in nodules if uid not in found]
    if absent:
        raise SettingsError(f"{truth} names the series {absent[0]}, which is not below {folder}.")
    others = len(found) - len(nodules)
    notes = (f"{others} series that the table does not name were left out.",) if others else ()
    return Source(f"{len(nodules)} DICOM series with {truth.name}", len(nodules), _scans(found, nodules), notes)


def _scans(found: Mapping[str, Mapping[Path, InstanceHeader]], nodules: Nodules) -> Iterator[Scan]:
    for uid, known in nodules.items():
        yield read_scan(uid, found[uid], known)


def read_scan(name: str, files: Mapping[Path, InstanceHeader], nodules: tuple[Nodule, ...]) -> Scan:
    """Read one series as `nodus analyse` does, and keep every score."""
    verdict = judge(files.values())
    groups = groups_of_headers(files.values())
    if verdict.level is Level.REFUSED:
        return Scan(name, nodules, groups, None, " ".join(verdict.reasons))
    wanted = set(verdict.instance_uids)
    paths = [path for path, header in files.items() if header.sop_instance_uid in wanted]
    reading, refusal = attempt(partial(pipeline.read, paths, verdict, point=EVERY_SCORE))
    return Scan(name, nodules, groups | (noise_group(reading.volume) if reading else {}), reading, refusal)
