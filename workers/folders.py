"""Folders of DICOM: the series below one, judged by their headers, and the best of them."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

from node.domain.eligibility import Eligibility, best, judge
from node.domain.instance import InstanceHeader
from node.errors import BadInput
from node.headers import read_header

Found = dict[str, dict[Path, InstanceHeader]]
"""Series Instance UID to its files."""


@dataclass(frozen=True)
class Chosen:
    """The best series below a folder, and what of it is read."""

    uid: str
    verdict: Eligibility
    headers: tuple[InstanceHeader, ...]
    """Of the images to read."""
    files: dict[str, Path]
    """SOP Instance UID to its file, in the same order."""


def series_below(folder: Path) -> Found:
    """Every DICOM file below a folder, by series; other files are passed over."""
    found: Found = defaultdict(dict)
    for path in sorted(each for each in folder.rglob("*") if each.is_file()):
        try:
            header = read_header(path)
        except BadInput:
            continue  # folders of images hold all kinds of files
        found[header.series_instance_uid][path] = header
    return found


def verdicts_on(found: Found) -> dict[str, Eligibility]:
    """Series Instance UID to whether it can be read."""
    return {uid: judge(files.values()) for uid, files in found.items()}


def best_of(found: Found, verdicts: dict[str, Eligibility]) -> Chosen | None:
    """The series to read; None where none can be."""
    uid = best(verdicts.items())
    if uid is None:
        return None
    wanted = set(verdicts[uid].instance_uids)
    files = {header.sop_instance_uid: path for path, header in found[uid].items() if header.sop_instance_uid in wanted}
    headers = {header.sop_instance_uid: header for header in found[uid].values()}
    return Chosen(uid, verdicts[uid], tuple(headers[each] for each in files), files)
