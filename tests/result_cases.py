"""Readings of every kind that results are encoded from: what each of them says must be valid, and break no rule."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

from pydicom import Dataset

from node.domain.exam import Exam, Purpose
from node.domain.finding import NoduleType, SolidPart
from node.domain.language import Language
from node.domain.outcome import Conclusion, Outcome
from tests.builders import Scan
from tests.compared import compared, compared_screening, hindered, unfetched, unsure
from tests.readings import Reading, not_analysed, result_request
from workers.guidelines.apply import guidance_of
from workers.results import ResultRequest, Style

PARTIAL = Conclusion(
    Outcome.PARTIAL,
    (
        "The bases of the lungs were not scanned.",
        "The images are very noisy (140 HU): small and ground-glass nodules may have been missed.",
    ),
)


def without_accession(found: Reading) -> ResultRequest:
    headers = deepcopy(found.series.headers)
    for header in headers:
        del header.AccessionNumber
    return result_request(found, headers=headers)


def with_order(found: Reading) -> ResultRequest:
    headers, order = deepcopy(found.series.headers), Dataset()
    order.RequestedProcedureID, order.ScheduledProcedureStepID = "RP-1", "SPS-1"
    for header in headers:
        header.RequestAttributesSequence = [order]
    return result_request(found, headers=headers)


def twenty(found: Reading) -> ResultRequest:
    many = tuple(replace(found.findings[n % 3], ordinal=n + 1) for n in range(20))
    return result_request(Reading(found.series, many, tuple(found.masks[n % 3] for n in range(20))))


def by_rule(found: Reading, purpose: Purpose, conclusion: Conclusion | None = None) -> ResultRequest:
    """A request with what clinical rules say of an exam of this purpose."""
    request = result_request(found, conclusion)
    exam = Exam(purpose, "it came from CT1", 64, True)
    return replace(request, guidance=guidance_of(exam, found.findings, request.conclusion))


def said_in(language: Language, found: Reading) -> ResultRequest:
    """All that a report may say: what limits it, clinical rules, every code; without outlines in German."""
    outlines = language is not Language.DE
    return replace(by_rule(found, Purpose.SCREENING), style=Style(language, outlines))


def part_solid(found: Reading) -> ResultRequest:
    """Several categories remain possible."""
    first = replace(found.findings[0], type=NoduleType.PART_SOLID)
    return by_rule(Reading(found.series, (first,), found.masks[:1]), Purpose.SCREENING)


def solid_part(found: Reading, language: Language = Language.EN) -> ResultRequest:
    """The solid part of the first nodule was measured."""
    first, *others = found.findings
    sizes = first.measurements
    part = SolidPart(sizes.mean_diameter_mm - 1, sizes.long_axis_mm - 1, sizes.short_axis_mm - 1, 1.7, first.key_image)
    part_solid = replace(first, type=NoduleType.PART_SOLID, solid_part=part)
    request = by_rule(replace(found, findings=(part_solid, *others)), Purpose.SCREENING)
    return replace(request, style=Style(language, outlines=language is not Language.DE))


CASES: dict[str, tuple[int, Scan, bool, Callable[[Reading], ResultRequest]]] = {
    "no nodule": (0, Scan(), False, result_request),
    "one nodule": (1, Scan(), False, result_request),
    "three nodules": (3, Scan(), False, result_request),
    "twenty nodules": (3, Scan(), False, twenty),
    "partial without nodules": (0, Scan(), False, lambda found: result_request(found, PARTIAL)),
    "partial with nodules": (2, Scan(), False, lambda found: result_request(found, PARTIAL)),
    "more nodules than named": (2, Scan(), False, lambda found: result_request(found, PARTIAL, more_findings=True)),
    "in shadow": (2, Scan(), False, lambda found: result_request(found, shadow=True)),
    "not analysed": (0, Scan(), False, not_analysed),
    "enhanced CT": (3, Scan(), True, result_request),
    "enhanced CT without nodules": (0, Scan(), True, result_request),
    "thick slices": (2, Scan(spacing_zyx_mm=(3.0, 0.7, 0.7)), False, result_request),
    "Japanese name": (
        1,
        Scan(name="Yamada^Tarou=山田^太郎=やまだ^たろう", charset="ISO_IR 192"),
        False,
        result_request,
    ),
    "Korean name": (1, Scan(name="Hong^Gildong=洪^吉洞", charset="\\ISO 2022 IR 149"), False, result_request),
    "no accession number": (1, Scan(), False, without_accession),
    "with an order": (1, Scan(), False, with_order),
    "screening": (3, Scan(), False, lambda found: by_rule(found, Purpose.SCREENING)),
    "screening without nodules": (0, Scan(), False, lambda found: by_rule(found, Purpose.SCREENING)),
    "screening, partial": (2, Scan(), False, lambda found: by_rule(found, Purpose.SCREENING, PARTIAL)),
    "screening of a part-solid nodule": (1, Scan(), False, part_solid),
    "solid part": (2, Scan(), False, solid_part),
    "solid part, enhanced CT": (2, Scan(), True, solid_part),
    "solid part, in Chinese": (1, Scan(), False, lambda found: solid_part(found, Language.ZH)),
    "solid part, in German": (1, Scan(), False, lambda found: solid_part(found, Language.DE)),
    "incidental nodules": (3, Scan(), False, lambda found: by_rule(found, Purpose.INCIDENTAL)),
    "compared": (3, Scan(), False, compared),
    "compared, none found": (0, Scan(), False, compared),
    "compared with a limited exam": (3, Scan(), False, unsure),
    "compared, screening": (3, Scan(), False, compared_screening),
    "not compared": (2, Scan(), False, hindered),
    "no earlier exam could be fetched": (1, Scan(), False, unfetched),
    "in Chinese": (3, Scan(), False, lambda found: said_in(Language.ZH, found)),
    "in German": (
        *(3, Scan(name="Lobos^José=이^세", charset="ISO_IR 192"), True),
        lambda found: said_in(Language.DE, found),
    ),
    "not analysed, in German": (0, Scan(), False, lambda found: replace(not_analysed(found), style=Style(Language.DE))),
    "oblique": (1, Scan(orientation=(0.96, 0.28, 0, -0.28, 0.96, 0)), False, result_request),
}
"""Nodules, scan, whether it is multi-frame, and the request."""
