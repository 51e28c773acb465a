"""The sentences that people read: at the top of the SR and on the summary picture, in the language of the request."""

from node.domain.finding import Finding, NoduleType, Side
from node.domain.guidance import NoduleGuidance, Risk
from node.domain.outcome import Outcome
from workers.results import comparison
from workers.results.language import OR, Speech
from workers.results.request import ResultRequest

BANNER = "AI result, unverified, preliminary"
SHADOW = "SHADOW READING of a model that is only tried beside the one in use: not for clinical use, not for the PACS."
TYPE_NAMES = {
    NoduleType.SOLID: "solid",
    NoduleType.PART_SOLID: "part-solid",
    NoduleType.GROUND_GLASS: "ground-glass",
    NoduleType.CALCIFIED: "calcified",
}
_SIDES = {Side.RIGHT: "right lung", Side.LEFT: "left lung", Side.UNKNOWN: "side not determined"}
KNOWN = "risk calculator {calculator}, no finding of the AI: probability of cancer {probability} (used: {used})"
BOUNDED = KNOWN.removesuffix(")") + "; not known, hence the bounds: {missing})"
ENGLISH = Speech()


def lines(request: ResultRequest) -> list[str]:
    """Everything a reader must know, most important first: result, what was not assessed, clinical rules, model, each
    nodule."""
    nodules = [line for each in request.findings for line in _lines_of(each, request)]
    since = comparison.lines(request)
    return [
        *(*warning(request), headline(request), *limits(request), *since),
        *(*rule_lines(request), made_by(request), *nodules),
    ]


def limits(request: ResultRequest) -> list[str]:
    """What was not assessed, or why nothing was."""
    not_read, say = request.conclusion.outcome is Outcome.NOT_ANALYSED, request.say
    frame = "Reason: {sentence}" if not_read else "Not assessed or limited: {sentence}"
    return [say(frame, sentence=say.of(sentence)) for sentence in request.conclusion.limitations]


def rule_lines(request: ResultRequest) -> tuple[str, ...]:
    """What clinical rules say of the exam; nothing where they were not applied."""
    return tuple(map(request.say.of, request.guidance.sentences)) if request.guidance else ()


def _lines_of(finding: Finding, request: ResultRequest) -> list[str]:
    guidance = request.guidance_on(finding)
    by_rule = "" if guidance is None else guidance_line(guidance, request.say)
    since = comparison.nodule_line(finding, request)
    return [each for each in (nodule_line(finding, request), solid_line(finding, request), since, by_rule) if each]


def guidance_line(guidance: NoduleGuidance, say: Speech = ENGLISH) -> str:
    """What clinical rules say of one nodule, in one line; empty where they say nothing."""
    categories = f"Lung-RADS {say.joined(guidance.lung_rads, OR)}" if guidance.lung_rads else ""
    said = [each for each in (categories, risk_text(guidance.risk, say) if guidance.risk else "") if each]
    return say("{label} by rule: {said}", label=f"N{guidance.ordinal}", said=say.joint("; ").join(said)) if said else ""


def risk_text(risk: Risk, say: Speech = ENGLISH) -> str:
    """Both bounds, or the value, and what they rest on."""
    lower, upper = (say.number(share * 100, 1) for share in (risk.lower, risk.upper))
    told = say("{lower}% to {upper}%", lower=lower, upper=upper) if risk.missing else say("{share}%", share=upper)
    return say(
        BOUNDED if risk.missing else KNOWN,
        calculator=say.of(risk.calculator),
        probability=told,
        used=say.joined(risk.used),
        missing=say.joined(risk.missing),
    )


def warning(request: ResultRequest) -> list[str]:
    """What stands above everything else."""
    return [request.say(SHADOW)] if request.shadow else []


def headline(request: ResultRequest) -> str:
    """Count and largest nodule; or that none was found; or that nothing was read."""
    count, outcome, say = len(request.findings), request.conclusion.outcome, request.say
    if outcome is Outcome.NOT_ANALYSED:
        return say("AI lung nodule: NOT ANALYSED. The images were not read; this is not a negative result.")
    if request.more_findings and not count:  # all that were looked at closely were too small for the slices
        return say("No lung nodule could be assessed of those found ({banner}).", banner=say(BANNER))
    found = say("1 lung nodule") if count == 1 else say("{count} lung nodules", count=str(count))
    if request.more_findings:
        found = say("At least {found}", found=found)
    scope = " found in the part that could be assessed" if outcome is Outcome.PARTIAL else " found"
    who = "{found}" if count else "No lung nodule"
    counted = say(f"{who}{scope} ({{banner}}).", found=found, banner=say(BANNER))
    if not count:
        return counted
    largest = max(request.findings, key=lambda finding: finding.measurements.mean_diameter_mm)
    described = describe(largest, say)
    return say(
        "{counted} Largest: {label}, {description}.", counted=counted, label=largest.label, description=described
    )


def describe(finding: Finding, say: Speech = ENGLISH) -> str:
    """Type, side and mean diameter."""
    return say(
        "{type}, {side}, mean diameter {size} mm",
        type=say(TYPE_NAMES[finding.type]),
        side=say(_SIDES[finding.side]),
        size=say.number(finding.measurements.mean_diameter_mm, 1),
    )


def made_by(request: ResultRequest) -> str:
    """Who read what."""
    model, header = f"{request.model.name} {request.model.version}", request.headers[0]
    if request.conclusion.outcome is Outcome.NOT_ANALYSED:
        return request.say("Written by {model}.", model=model)
    slices = len(request.volume.slices) if request.volume else 0
    series = header.get("SeriesNumber")
    return request.say(
        "Model {model}, read {count} images of series {series}.",
        model=model,
        count=str(slices),
        series="?" if series is None else str(series),
    )


def nodule_line(finding: Finding, request: ResultRequest) -> str:
    """One nodule in one line, with the place where a viewer finds it."""
    sizes, say = finding.measurements, request.say
    volume = sizes.volume_mm3
    return say(
        "{label}: {description} ({long} x {short} mm), {volume}, mean {density} HU, "
        "detector confidence {confidence}%, {place}",
        label=finding.label,
        description=describe(finding, say),
        long=say.number(sizes.long_axis_mm, 1),
        short=say.number(sizes.short_axis_mm, 1),
        volume=say("volume not measured") if volume is None else say("volume {volume} mm3", volume=say.number(volume)),
        density=say.number(sizes.mean_hu),
        confidence=say.number(finding.confidence * 100),
        place=place(finding, request),
    )


def solid_line(finding: Finding, request: ResultRequest) -> str:
    """Its solid part, with how well that is known; empty where it was not measured."""
    part, say = finding.solid_part, request.say
    if part is None:
        return ""
    return say(
        "{label}, solid part: mean diameter {size} mm ({long} x {short} mm), within {within} mm on synthetic nodules",
        label=finding.label,
        size=say.number(part.mean_diameter_mm, 1),
        within=say.number(part.within_mm, 1),
        long=say.number(part.long_axis_mm, 1),
        short=say.number(part.short_axis_mm, 1),
    )


def place(finding: Finding, request: ResultRequest) -> str:
    """Series and image as the viewer counts them; frame for multi-frame images."""
    key, say = finding.key_image, request.say
    numbers = {
        "series {number}": request.headers[0].get("SeriesNumber"),
        "image {number}": key.instance_number,
        "frame {number}": key.frame_number,
    }
    parts = [say(sentence, number=str(number)) for sentence, number in numbers.items() if number is not None]
    return " ".join(parts) or say("slice {number} from the feet", number=str(key.slice_index + 1))
