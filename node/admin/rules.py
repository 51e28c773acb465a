"""Routing rules: what they say, and what they would decide about files that are not sent."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from node.admin.view import Row, View, cell
from node.domain.route import Route
from node.domain.rules import RuleBook, Subject
from node.errors import BadInput, SettingsError, Unavailable
from node.flow.routing import book_of
from node.headers.attributes import attributes_of, identity_of
from node.settings import Settings

COLUMNS = ("pipeline", "priority", "destinations", "forward", "max_study_age_days")


def listing(settings: Settings) -> View:
    """One row a rule. Raises SettingsError where one is wrong."""
    book = book_of(settings)
    rows = [{"rule": each.name, "when": each.matched(), **asdict(each.route)} for each in book.rules]
    rows += [
        {"rule": "", "when": f"what a rule leaves open: called {ae_title}", **asdict(route)}
        for ae_title, route in book.aes.items()
    ]
    note = "" if rows else "There are no rules: every study is read where it can be, and goes to every destination."
    return View(rows, ("rule", "when", *COLUMNS), rows, note)


def test(settings: Settings, place: Path, sender: str, called: str) -> View:
    """What the rules decide about each study in a file or a folder, and why.

    Raises SettingsError where a rule or an argument is wrong, Unavailable where there is no image.
    """
    book = book_of(settings)
    ae_title, address = _caller(sender)
    keywords = {each.keyword for rule in book.rules for each in rule.where}
    studies, others = _samples(place)
    if not studies:
        raise Unavailable(f"There is no DICOM image with its study and series in {place}.")
    found = []
    for uid, series in studies.items():
        attributes = [attributes_of(path, keywords) for path in series.values()]
        found.append(_decided(book, uid, Subject(ae_title, address, called or settings.ae_title, attributes)))
    rows = [
        {"study": each["study"], **verdict, "fired": "fires" if verdict["fired"] else "no"}
        for each in found for verdict in each["rules"]
    ]  # fmt: skip
    note = "\n".join(f"{each['study']}: {each['decided_by']}: {_said(each['route'])}" for each in found)
    note += f"\n{others} files are no DICOM images." if others else ""
    return View(found, ("study", "rule", "fired", "why"), rows, note)


def _caller(sender: str) -> tuple[str, str]:
    ae_title, _, host = sender.rpartition("@")
    if not sender:
        return "", ""
    try:
        return (ae_title or sender), (str(ip_address(host)) if ae_title else "")
    except ValueError:
        raise SettingsError(f"{sender!r} is not AET@HOST with an address, such as CT1@10.0.0.5.") from None


def _samples(place: Path) -> tuple[dict[str, dict[str, Path]], int]:
    """Study Instance UID to Series Instance UID to one image; and how many files are none."""
    studies: dict[str, dict[str, Path]] = {}
    others = 0
    for path in _files(place):
        try:
            identity = identity_of(path)
        except (BadInput, OSError):
            others += 1
            continue
        studies.setdefault(identity["StudyInstanceUID"], {}).setdefault(identity["SeriesInstanceUID"], path)
    return studies, others


def _files(place: Path) -> Iterable[Path]:
    return sorted(path for path in place.rglob("*") if path.is_file()) if place.is_dir() else [place]


def _decided(book: RuleBook, uid: str, subject: Subject) -> dict[str, Any]:
    decision = book.decide(subject)
    verdicts = [asdict(each) for each in book.explain(subject)]
    return {"study": uid, "rule": decision.rule, "decided_by": decision.said(), "route": asdict(decision.route),
            "rules": verdicts}  # fmt: skip


def _said(route: Mapping[str, Any]) -> str:
    """What is done, for people; what nobody says is as ever."""
    said = [f"{name.replace('_', ' ')} {cell(value) or 'none'}" for name, value in route.items() if value is not None]
    return ", ".join(said) or "as without rules"


def routed(detail: Row) -> str:
    """What was decided about a study, in a line; empty where nothing was."""
    routing = detail["routing"]
    if not routing:
        return ""
    who = f"rule {routing['rule']!r} ({routing['why']})" if routing["rule"] else routing["why"]
    return f"\nrouting: {who}: {_said({each: routing[each] for each in Route.__dataclass_fields__})}"
