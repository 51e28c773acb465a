"""The sentences of pictures, marks, selections and the page, like those of text.py in the language of the request."""

from node.domain.finding import Finding
from node.domain.outcome import Outcome
from workers.results import comparison
from workers.results.request import ResultRequest
from workers.results.text import BANNER, TYPE_NAMES, describe, headline, place, solid_line, warning

VIEW_NAMES = ("axial", "coronal", "sagittal")
COLUMN_NAMES = ("type", "side", "mean diameter", "axes", "volume", "density", "confidence", "image")
NOT_COMPARED = "No earlier exam was compared."
COMPARED = "Of earlier exams the one that is named was compared, no other."
PAGE_STATES = {
    Outcome.FINDINGS: "AI lung nodules: FINDINGS",
    Outcome.NO_FINDINGS: "AI lung nodules: NO FINDINGS",
    Outcome.PARTIAL: "AI lung nodules: PARTIAL READING",
    Outcome.NOT_ANALYSED: "AI lung nodules: NOT ANALYSED - not a negative result",
}
"""How the reading ended, in large letters."""
SHADOW_MARK = "SHADOW READING, not for use."


def _marked(sentence: str, request: ResultRequest) -> str:
    """Behind the mark of a shadow reading, where it is one."""
    return f"{request.say(SHADOW_MARK)} {sentence}" if request.shadow else sentence


def strip_caption(finding: Finding, request: ResultRequest, window_hu: tuple[int, int], field_mm: int) -> str:
    """What a strip shows, by whom, and how it is drawn."""
    said = request.say(
        "{label} (AI, unverified): {description}. Without and with outline; window {low} to {high} HU; "
        "each {size} x {size} mm",
        label=finding.label,
        description=describe(finding, request.say),
        low=str(window_hu[0]),
        high=str(window_hu[1]),
        size=str(field_mm),
    )
    return _marked(said, request)


def presentation_description(request: ResultRequest) -> str:
    """Of a presentation state, at most 64 characters (LO)."""
    return _marked(request.say("Marks of AI, unverified"), request)


def heat_description(request: ResultRequest) -> str:
    """Of a parametric map, at most 64 characters (LO)."""
    return _marked(request.say("Score of the AI detector"), request)


def selection_description(request: ResultRequest) -> str:
    """Why these images were selected."""
    return " ".join([*warning(request), headline(request)])


def page_state(request: ResultRequest) -> str:
    """How the reading ended."""
    return _marked(request.say(PAGE_STATES[request.conclusion.outcome]), request)


def page_title(request: ResultRequest) -> str:
    """Of the page, and of its object: at most 64 characters of it are read by some."""
    return _marked(request.say("AI result, unverified, preliminary, research only"), request)


def summary_title(request: ResultRequest) -> str:
    """Of the summary picture."""
    return request.say("AI lung nodules - unverified, preliminary")


def derivation(request: ResultRequest) -> str:
    """Of the summary picture, as an attribute."""
    return request.say(BANNER)


def page_limits(request: ResultRequest) -> list[str]:
    """Of every reading."""
    made = request.comparison is not None and request.comparison.is_made
    said = (
        "Research software, not a medical device, not validated on clinical data. No physician has checked this page.",
        "The AI misses nodules, and marks what is none. It looks for lung nodules only, and judges no other disease.",
        COMPARED if made else NOT_COMPARED,
        "Confidence is the detector's score, no probability of cancer. What the models were measured on stands in "
        "their model cards.",
        "Patient and study are those in the header of this object; the page itself names nobody.",
    )
    return [request.say(each) for each in said]


def page_identity(request: ResultRequest, sop_instance_uid: str, made: str) -> str:
    """By which a print is found again in the archive."""
    return request.say("Object {uid}, made {made}.", uid=sop_instance_uid, made=made)


def column_names(request: ResultRequest) -> tuple[str, ...]:
    """Of the table of findings; none above their labels."""
    return ("", *map(request.say, COLUMN_NAMES))


def more_rows(count: int, request: ResultRequest) -> str:
    """Findings that the table has no room for."""
    return request.say("and {count} more: see the structured report", count=str(count))


def row(finding: Finding, request: ResultRequest) -> tuple[str, ...]:
    """A finding in the table."""
    sizes, say = finding.measurements, request.say
    volume = sizes.volume_mm3
    return (
        finding.label,
        type_name(finding, request),
        side_name(finding, request),
        f"{say.number(sizes.mean_diameter_mm, 1)} mm",
        f"{say.number(sizes.long_axis_mm, 1)} x {say.number(sizes.short_axis_mm, 1)} mm",
        say("not measured") if volume is None else f"{say.number(volume)} mm3",
        f"{say.number(sizes.mean_hu)} HU",
        say("{share}%", share=say.number(finding.confidence * 100)),
        place(finding, request),
    )


def rows_below(finding: Finding, request: ResultRequest) -> list[str]:
    """What more the table says of a finding: its solid part, and what became of it since an earlier exam."""
    return [each for each in (solid_line(finding, request), comparison.short_line(finding, request)) if each]


def type_name(finding: Finding, request: ResultRequest) -> str:
    """Composition."""
    return request.say(TYPE_NAMES[finding.type])


def side_name(finding: Finding, request: ResultRequest) -> str:
    """Right, left, or unknown."""
    return request.say(finding.side.value)
