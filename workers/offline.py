"""The pipeline without the network: a folder of DICOM in, SR, SEG, findings.json and pictures out."""

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node.domain.delivery import ResultKind
from node.domain.eligibility import Eligibility, best, judge
from node.domain.finding import Finding, summary
from node.domain.instance import InstanceHeader
from node.domain.outcome import Conclusion, Outcome
from node.errors import BadInput, SettingsError
from node.headers import data_set_digest, read_header
from workers import pipeline
from workers.authorship import Author
from workers.models import Detector, Shipped
from workers.results import ResultRequest, encode
from workers.results.secondary import draw_summary
from workers.volume import read_headers

FINDINGS, PICTURE = "findings.json", "summary.png"

Found = dict[str, dict[Path, InstanceHeader]]
"""Series Instance UID to its files."""


@dataclass(frozen=True)
class Analysis:
    """What `analyse` says about a folder."""

    conclusion: Conclusion
    findings: tuple[Finding, ...]
    series: dict[str, str]
    """Series Instance UID to "read", or to why it was not."""
    timings_s: dict[str, float]
    model: str = ""
    """Name and versions of the networks that read; empty where none did."""

    def text(self) -> str:
        """As a person reads it."""
        lines = [f"{self.conclusion.outcome}: {len(self.findings)} nodules", *self.conclusion.limitations]
        lines += [f"series {uid}: {told}" for uid, told in self.series.items()]
        lines += [f"{finding.label} {summary(finding)}" for finding in self.findings]
        lines += [f"model {self.model}"] * bool(self.model)
        return "\n".join(lines)


@dataclass(frozen=True)
class Reader:
    """Who reads, and who is told how far it is."""

    progress: Callable[[str, int], None]
    detector: Detector


def analyse(
    folder: Path, out: Path, progress: Callable[[str, int], None], detector: Detector | None = None
) -> Analysis:
    """Read the best CT series below a folder and write what was found into `out`.

    Raises SettingsError where there is no DICOM file. Images that cannot be read end in "not analysed", with an SR.
    """
    found = series_below(folder)
    if not found:
        raise SettingsError(f"There is no DICOM file below {folder}.")
    out.mkdir(parents=True, exist_ok=True)
    _clear(out)
    verdicts = {uid: judge(files.values()) for uid, files in found.items()}
    chosen = best(verdicts.items())
    if chosen is None:
        analysis, request = _not_analysed(found, verdicts, _reasons(verdicts))
    else:
        analysis, request = _analysed(found, verdicts, chosen, Reader(progress, detector or Shipped()))
    _write(out, analysis, request)
    return analysis


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


def _reasons(verdicts: dict[str, Eligibility]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reason for verdict in verdicts.values() for reason in verdict.reasons))


def _told(verdicts: dict[str, Eligibility], chosen: str | None) -> dict[str, str]:
    return {
        uid: "read" if uid == chosen else " ".join(verdict.reasons) or "Another series is better."
        for uid, verdict in verdicts.items()
    }


def _author() -> Author:
    return Author("NODUS", "OFFLINE", datetime.now(UTC))


def _analysed(
    found: Found, verdicts: dict[str, Eligibility], chosen: str, reader: Reader
) -> tuple[Analysis, ResultRequest]:
    wanted = set(verdicts[chosen].instance_uids)
    files = {
        header.sop_instance_uid: path for path, header in found[chosen].items() if header.sop_instance_uid in wanted
    }
    try:
        reading = pipeline.read(list(files.values()), verdicts[chosen], reader.progress, detector=reader.detector)
    except BadInput as error:
        return _not_analysed(found, verdicts, (str(error),))
    digests = {uid: data_set_digest(path) for uid, path in files.items()}
    told = _told(verdicts, chosen)
    model = f"{reading.models.model.name} {reading.models.model.version}"
    analysis = Analysis(reading.conclusion, reading.findings, told, reading.timings_s, model)
    return analysis, _author().report(reading, digests)


def _not_analysed(
    found: Found, verdicts: dict[str, Eligibility], reasons: Sequence[str]
) -> tuple[Analysis, ResultRequest]:
    path = min(path for files in found.values() for path in files)
    (header,) = read_headers([path])
    conclusion = Conclusion(Outcome.NOT_ANALYSED, tuple(reasons))
    analysis = Analysis(conclusion, (), _told(verdicts, None), {})
    return analysis, _author().notice(reasons, header, data_set_digest(path))


def _clear(out: Path) -> None:
    """Remove the results of an earlier run, maybe of another patient: not every run writes every file."""
    for name in (*(_name(kind) for kind in ResultKind), FINDINGS, PICTURE):
        (out / name).unlink(missing_ok=True)


def _name(kind: ResultKind) -> str:
    return f"{kind.lower()}.dcm"


def _write(out: Path, analysis: Analysis, request: ResultRequest) -> None:
    for kind in ResultKind:
        for encoded in encode(request, kind)[:1]:
            (out / _name(kind)).write_bytes(encoded.data)
    (out / FINDINGS).write_text(json.dumps(asdict(analysis), indent=2, default=_plain))
    if request.volume is not None:
        draw_summary(request, request.volume).save(out / PICTURE)


def _plain(value: object) -> Any:
    return str(value)
