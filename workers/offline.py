"""The pipeline without the network: a folder of DICOM in, every result, findings.json and pictures out."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node.domain.delivery import ResultKind
from node.domain.eligibility import Eligibility
from node.domain.exam import ExamRules
from node.domain.finding import Finding, summary
from node.domain.guidance import Guidance
from node.domain.outcome import Conclusion, Outcome
from node.domain.prior import PriorComparison
from node.errors import BadInput, SettingsError
from node.headers import data_set_digest
from node.pictures import strip_name, strips_in
from workers import pipeline
from workers.authorship import Author
from workers.earlier_folder import EarlierFolder, Progress, earlier_in
from workers.folders import Chosen, Found, best_of, series_below, verdicts_on
from workers.models import Detector, Shipped
from workers.results import EncodedResult, ResultRequest, Style, broken_rules, encode
from workers.results.comparison import change_since, exam_lines
from workers.results.page import draw_page
from workers.results.secondary import draw_summary
from workers.results.strip import strips_of
from workers.results.text import guidance_line
from workers.volume import read_headers

FINDINGS, PICTURE, REPORT = "findings.json", "summary.png", "report.pdf"


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
    guidance: Guidance | None = None
    """What clinical rules say; None where the settings do not say what the exam was made for."""
    comparison: PriorComparison | None = None
    """What became of the nodules since an earlier exam, without its images; None where none was given."""
    broken: tuple[str, ...] = ()
    """Rules that results broke: then none is written under its name, and those that broke one as *.broken.dcm."""

    def text(self) -> str:
        """As a person reads it."""
        lines = [f"{self.conclusion.outcome}: {len(self.findings)} nodules", *self.conclusion.limitations]
        lines += [f"series {uid}: {told}" for uid, told in self.series.items()]
        lines += exam_lines(self.comparison)
        for finding in self.findings:
            lines += [f"{finding.label} {summary(finding)}", *self._since(finding)]
        if self.guidance is not None:
            lines += [*self.guidance.sentences, *filter(None, map(guidance_line, self.guidance.nodules))]
        lines += [f"model {self.model}"] * bool(self.model)
        lines += [f"BROKEN, not to be used: {told}" for told in self.broken]
        return "\n".join(lines)

    def _since(self, finding: Finding) -> list[str]:
        """What became of one nodule, below its line."""
        since = change_since(finding, self.comparison)
        return [f"   {since}"] if since else []


@dataclass(frozen=True)
class Order:
    """How a folder is to be read."""

    detector: Detector = field(default_factory=Shipped)
    rules: ExamRules = field(default_factory=ExamRules)
    """Which exams are screening, which have incidental nodules."""
    style: Style = field(default_factory=Style)
    earlier: Path | None = None
    """Folder with an earlier exam of the same patient."""


@dataclass(frozen=True)
class Reader:
    """Who reads, by which rules, and who is told how far it is."""

    progress: Progress
    order: Order
    author: Author
    earlier: EarlierFolder | None


def analyse(folder: Path, out: Path, progress: Progress, order: Order | None = None) -> Analysis:
    """Read the best CT series below a folder and write what was found into `out`.

    Raises SettingsError where there is no DICOM file, or an earlier exam is none. Images that cannot be read end in
    "not analysed", with an SR.
    """
    order = order or Order()
    found = series_below(folder)
    if not found:
        raise SettingsError(f"There is no DICOM file below {folder}.")
    verdicts = verdicts_on(found)
    chosen = best_of(found, verdicts)
    before = earlier_in(order.earlier, chosen.headers[0]) if order.earlier and chosen else None
    out.mkdir(parents=True, exist_ok=True)
    _clear(out)
    author = Author("NODUS", "OFFLINE", datetime.now(UTC), style=order.style)
    if chosen is None:
        analysis, request = _not_analysed(found, verdicts, _reasons(verdicts), author)
    else:
        analysis, request = _analysed(found, verdicts, chosen, Reader(progress, order, author, before))
    encoded = [each for kind in ResultKind for each in encode(request, kind)[:1]]
    analysis = replace(analysis, broken=_write_results(out, encoded, request))
    _write(out, analysis, request)
    return analysis


def _reasons(verdicts: dict[str, Eligibility]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(reason for verdict in verdicts.values() for reason in verdict.reasons))


def _told(verdicts: dict[str, Eligibility], chosen: str | None) -> dict[str, str]:
    return {
        uid: "read" if uid == chosen else " ".join(verdict.reasons) or "Another series is better."
        for uid, verdict in verdicts.items()
    }


def _analysed(
    found: Found, verdicts: dict[str, Eligibility], chosen: Chosen, reader: Reader
) -> tuple[Analysis, ResultRequest]:
    detector, rules = reader.order.detector, reader.order.rules
    try:
        reading = pipeline.read(list(chosen.files.values()), chosen.verdict, reader.progress, detector=detector)
    except BadInput as error:
        return _not_analysed(found, verdicts, (str(error),), reader.author)
    if reader.earlier is not None:
        least_mm = pipeline.least_change_mm(reading, rules)
        reading = reader.earlier.beside(reading, chosen, least_mm, detector, reader.progress)
    reading = pipeline.advise(reading, rules)
    digests = {uid: data_set_digest(path) for uid, path in chosen.files.items()}
    analysis = Analysis(
        reading.conclusion,
        reading.findings,
        _told(verdicts, chosen.uid),
        reading.timings_s,
        f"{reading.models.model.name} {reading.models.model.version}",
        reading.guidance,
        replace(reading.comparison, images=()) if reading.comparison else None,
    )
    return analysis, reader.author.report(reading, digests)


def _not_analysed(
    found: Found, verdicts: dict[str, Eligibility], reasons: Sequence[str], author: Author
) -> tuple[Analysis, ResultRequest]:
    path = min(path for files in found.values() for path in files)
    (header,) = read_headers([path])
    conclusion = Conclusion(Outcome.NOT_ANALYSED, tuple(reasons))
    analysis = Analysis(conclusion, (), _told(verdicts, None), {})
    return analysis, author.notice(reasons, header, data_set_digest(path))


def _clear(out: Path) -> None:
    """Remove the results of an earlier run, maybe of another patient: not every run writes every file."""
    results = [name for kind in ResultKind for name in (_name(kind), _broken_name(kind))]
    for path in (*(out / name for name in (*results, FINDINGS, PICTURE, REPORT)), *strips_in(out)):
        path.unlink(missing_ok=True)


def _name(kind: ResultKind) -> str:
    return f"{kind.lower()}.dcm"


def _broken_name(kind: ResultKind) -> str:
    return f"{kind.lower()}.broken.dcm"


def _write_results(out: Path, encoded: Sequence[EncodedResult], request: ResultRequest) -> tuple[str, ...]:
    """All of them, or where any broke a rule only those, by another name; returns what they broke."""
    found = [(each, broken_rules(each, request)) for each in encoded]
    said = tuple(f"{each.kind} {told}" for each, broken in found for told in broken)
    for each, broken in found:
        if broken or not said:
            (out / (_broken_name if broken else _name)(each.kind)).write_bytes(each.data)
    return said


def _write(out: Path, analysis: Analysis, request: ResultRequest) -> None:
    (out / FINDINGS).write_text(json.dumps(asdict(analysis), indent=2, default=_plain))
    if not analysis.broken:
        (out / REPORT).write_bytes(draw_page(request))
    if request.volume is not None:
        draw_summary(request, request.volume).save(out / PICTURE)
    for label, strip in strips_of(request).items():
        strip.save(out / strip_name(label))


def _plain(value: object) -> Any:
    return str(value)
