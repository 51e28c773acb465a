"""An exam and what was found in it to what clinical rules say of it; nothing where they do not apply."""

from collections.abc import Iterator, Sequence

from node.domain.exam import Exam, Purpose
from node.domain.finding import Finding, NoduleType
from node.domain.guidance import Guidance, NoduleGuidance, Risk
from node.domain.outcome import Conclusion, Outcome
from node.domain.prior import PriorComparison
from workers.guidelines import brock, fleischner, lung_rads
from workers.guidelines.nodule import Nodule, nodule_of

NAMES = {Purpose.SCREENING: lung_rads.NAME, Purpose.INCIDENTAL: fleischner.NAME}
SUPPORT = "decision support by rule, to be confirmed by a radiologist"


def guidance_of(
    exam: Exam, findings: Sequence[Finding], conclusion: Conclusion, comparison: PriorComparison | None = None
) -> Guidance:
    """What the rules for this purpose say. Lung-RADS asks what became of the nodules since an earlier exam.

    Of a reading that is limited in any way they say nothing: what was not seen may be larger, and one nodule may be
    one of several.
    """
    if conclusion.outcome not in (Outcome.FINDINGS, Outcome.NO_FINDINGS):
        said = f"{NAMES[exam.purpose]} was not applied to this {exam.purpose} exam: the reading is limited."
        return Guidance(exam.purpose, exam.because, (), (said,))
    made = comparison if comparison is not None and comparison.is_made else None
    nodules = tuple(
        nodule_of(each, made.of(each.ordinal) if made else None, made.days if made else 0) for each in findings
    )
    return _screening(exam, nodules, made) if exam.purpose is Purpose.SCREENING else _incidental(exam, nodules)


def _screening(exam: Exam, nodules: Sequence[Nodule], comparison: PriorComparison | None) -> Guidance:
    of_nodules = {each.ordinal: lung_rads.categories_of(each) for each in nodules}
    possible = lung_rads.of_exam(of_nodules.values())
    highest = [each.label for each in nodules if of_nodules[each.ordinal][-1] == possible[-1]]
    by = f" ({', '.join(highest)})" if highest else ""
    follow_up = "; ".join(f"{each}: {lung_rads.FOLLOW_UP[each]}" for each in possible)
    unsure = [each for each in nodules if len(possible) > 1 and len(of_nodules[each.ordinal]) > 1]
    said = f"{lung_rads.NAME}: category {_listed(possible)}{by}, {SUPPORT}. {follow_up}."
    advised = tuple(
        NoduleGuidance(each.ordinal, of_nodules[each.ordinal], _risk(each, nodules, exam)) for each in nodules
    )
    return Guidance(
        exam.purpose,
        exam.because,
        (lung_rads.NAME, *_calculators(advised)),
        (
            " ".join([said, *_why_several(unsure)]),
            f"Not assessed for {lung_rads.NAME}: {', '.join(lung_rads.not_assessed(comparison is not None))}.",
            f"Counts as a screening exam: {exam.because}.",
        ),
        possible,
        advised,
    )


def _why_several(unsure: Sequence[Nodule]) -> Iterator[str]:
    """What would leave one category."""
    part_solid = [each for each in unsure if each.type is NoduleType.PART_SOLID]
    measured = [each for each in part_solid if each.solid_part_mm is not None]
    for nodules, why in (
        ([each for each in part_solid if each.solid_part_mm is None], "The solid part of {} was not measured."),
        (measured, "The solid part of {} was measured, but not closely enough."),
        (
            [each for each in unsure if each.type is NoduleType.CALCIFIED],
            "The pattern of calcification of {} was not assessed.",
        ),
    ):
        if nodules:
            yield why.format(", ".join(each.label for each in nodules))
    labels = [each.label for each in unsure if len(each.courses) > 1]
    if labels:
        yield f"What became of {', '.join(labels)} since the earlier exam leaves more than one category."


def _incidental(exam: Exam, nodules: Sequence[Nodule]) -> Guidance:
    advised = tuple(NoduleGuidance(each.ordinal, risk=_risk(each, nodules, exam)) for each in nodules)
    advice, applied = tuple(_advice(exam, nodules)), fleischner.is_for(exam.age_years) and bool(nodules)
    counts = f"Counts as an exam with incidental nodules: {exam.because}."
    return Guidance(
        exam.purpose,
        exam.because,
        (*([fleischner.NAME] if applied else []), *_calculators(advised)),
        (*advice, counts) if advice else (),
        nodules=advised,
    )


def _advice(exam: Exam, nodules: Sequence[Nodule]) -> Iterator[str]:
    """Nothing where there is no nodule to follow."""
    if not nodules:
        return
    if not fleischner.is_for(exam.age_years):
        least = fleischner.LEAST_AGE_YEARS
        why = "the patient's age is not known" if exam.age_years is None else f"the patient is under {least}"
        yield f"{fleischner.NAME} was not applied: {why}."
        return
    yield from fleischner.recommendations(nodules)
    yield (
        f"Not known to {fleischner.NAME} as applied here: {fleischner.NOT_KNOWN}; and what makes a high risk "
        f"({fleischner.HIGH_RISK}). It is {SUPPORT}."
    )


def _risk(nodule: Nodule, nodules: Sequence[Nodule], exam: Exam) -> Risk | None:
    """Brock, for what it is made for: neither a calcified nodule nor a mass."""
    if nodule.type is NoduleType.CALCIFIED or nodule.is_mass:
        return None
    return brock.risk(
        brock.Inputs(
            longest_mm=nodule.long_axis_mm,
            type=nodule.type,
            count=sum(each.type is not NoduleType.CALCIFIED for each in nodules),
            age_years=exam.age_years,
            female=exam.female,
            upper_lobe=nodule.upper_lobe,
            spiculated=nodule.spiculated,
        )
    )


def _calculators(advised: Sequence[NoduleGuidance]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(each.risk.calculator.value for each in advised if each.risk is not None))


def _listed(names: Sequence[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last
