"""The sentences that people read: at the top of the SR and on the summary picture."""

from node.domain.finding import Finding, NoduleType, Side
from node.domain.outcome import Outcome
from workers.results.request import ResultRequest

BANNER = "AI result, unverified, preliminary"
TYPE_NAMES = {
    NoduleType.SOLID: "solid",
    NoduleType.PART_SOLID: "part-solid",
    NoduleType.GROUND_GLASS: "ground-glass",
    NoduleType.CALCIFIED: "calcified",
}
_SIDES = {Side.RIGHT: "right lung", Side.LEFT: "left lung", Side.UNKNOWN: "side not determined"}


def lines(request: ResultRequest) -> list[str]:
    """Everything a reader must know, most important first: result, what was not assessed, model, each nodule."""
    notes = [f"Not assessed or limited: {sentence}" for sentence in request.conclusion.limitations]
    if request.conclusion.outcome is Outcome.NOT_ANALYSED:
        notes = [f"Reason: {sentence}" for sentence in request.conclusion.limitations]
    return [headline(request), *notes, made_by(request), *(nodule_line(each, request) for each in request.findings)]


def headline(request: ResultRequest) -> str:
    """Count and largest nodule; or that none was found; or that nothing was read."""
    count, outcome = len(request.findings), request.conclusion.outcome
    if outcome is Outcome.NOT_ANALYSED:
        return "AI lung nodule: NOT ANALYSED. The images were not read; this is not a negative result."
    scope = " in the part that could be assessed" if outcome is Outcome.PARTIAL else ""
    found = "1 lung nodule" if count == 1 else f"{count or 'No'} lung nodule{'s' if count else ''}"
    if request.more_findings:
        if not count:  # all that were looked at closely were too small for the slices
            return f"No lung nodule could be assessed of those found ({BANNER})."
        found = f"At least {found}"
    first = f"{found} found{scope} ({BANNER})."
    if not count:
        return first
    largest = max(request.findings, key=lambda finding: finding.measurements.mean_diameter_mm)
    return f"{first} Largest: {largest.label}, {describe(largest)}."


def describe(finding: Finding) -> str:
    """Type, side and mean diameter."""
    size = finding.measurements.mean_diameter_mm
    return f"{TYPE_NAMES[finding.type]}, {_SIDES[finding.side]}, mean diameter {size:.1f} mm"


def made_by(request: ResultRequest) -> str:
    """Who read what."""
    model, header = request.model, request.headers[0]
    if request.conclusion.outcome is Outcome.NOT_ANALYSED:
        return f"Written by {model.name} {model.version}."
    slices = len(request.volume.slices) if request.volume else 0
    series = header.get("SeriesNumber")
    return f"Model {model.name} {model.version}, read {slices} images of series {'?' if series is None else series}."


def nodule_line(finding: Finding, request: ResultRequest) -> str:
    """One nodule in one line, with the place where a viewer finds it."""
    sizes = finding.measurements
    volume = "volume not measured" if sizes.volume_mm3 is None else f"volume {sizes.volume_mm3:.0f} mm3"
    return (
        f"{finding.label}: {describe(finding)} ({sizes.long_axis_mm:.1f} x {sizes.short_axis_mm:.1f} mm), {volume}, "
        f"mean {sizes.mean_hu:.0f} HU, detector confidence {finding.confidence:.0%}, {place(finding, request)}"
    )


def place(finding: Finding, request: ResultRequest) -> str:
    """Series and image as the viewer counts them; frame for multi-frame images."""
    key, series = finding.key_image, request.headers[0].get("SeriesNumber")
    parts = [] if series is None else [f"series {series}"]
    if key.instance_number is not None:
        parts.append(f"image {key.instance_number}")
    if key.frame_number is not None:
        parts.append(f"frame {key.frame_number}")
    return " ".join(parts) or f"slice {key.slice_index + 1} from the feet"
