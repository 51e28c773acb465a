"""Readings that were compared with an earlier exam, as requests for results."""

from dataclasses import replace

from pydicom.uid import CTImageStorage

from node.domain.exam import Exam, Purpose
from node.domain.finding import NoduleType, Side
from node.domain.outcome import Conclusion, Outcome
from node.domain.prior import (
    EarlierNodule,
    GoneNodule,
    Growth,
    Hindrance,
    ImageReference,
    Missing,
    NoduleChange,
    PriorComparison,
    Seen,
    Trend,
    Unmeasured,
    Unsure,
)
from node.domain.uids import derived_uid
from tests.readings import Reading, result_request
from workers.guidelines.apply import guidance_of
from workers.results import ResultRequest

THEN = "20230501"
DAYS = 278
EARLIER = EarlierNodule(derived_uid("earlier", "1"), NoduleType.SOLID, Side.RIGHT, (1.0, 2.0, 3.0), 7.4, 212.0)
GROWN = NoduleChange(1, Seen.MATCHED, None, EARLIER, Growth(Trend.INCREASED, True, 1.6, 0.82, 322.4))
UNMEASURED = NoduleChange(
    2,
    Seen.MATCHED,
    None,
    replace(EARLIER, tracking_uid=derived_uid("earlier", "2"), volume_mm3=None),
    None,
    Unmeasured.KERNEL,
)
NEW = NoduleChange(3, Seen.NEW)
GONE = GoneNodule(replace(EARLIER, side=Side.LEFT), Missing.NOT_FOUND)
UNTOLD = NoduleChange(3, Seen.UNSURE, Unsure.LIMITED)


def images(count: int = 40) -> tuple[ImageReference, ...]:
    """Of the earlier exam."""
    series = derived_uid("earlier series")
    return tuple(ImageReference(CTImageStorage, derived_uid("earlier image", str(n)), series) for n in range(count))


def comparison(*changes: NoduleChange, gone: tuple[GoneNodule, ...] = (GONE,)) -> PriorComparison:
    """With an exam of THEN."""
    return PriorComparison(derived_uid("earlier study"), THEN, DAYS, "s", images(), changes, gone)


def compared(found: Reading) -> ResultRequest:
    """Of up to three nodules one grew, one cannot be compared in size, one is new; and one is gone."""
    return result_request(found, comparison=comparison(*(GROWN, UNMEASURED, NEW)[: len(found.findings)]))


def unsure(found: Reading) -> ResultRequest:
    """The earlier exam has its limits."""
    made = comparison(GROWN, UNMEASURED, UNTOLD, gone=())
    return result_request(found, comparison=replace(made, earlier_limited=True, notice="Others did not come."))


def hindered(found: Reading) -> ResultRequest:
    """There is an earlier exam, and no comparison."""
    return result_request(found, comparison=replace(comparison(gone=()), hindrance=Hindrance.NOT_ALIGNED))


def unfetched(found: Reading) -> ResultRequest:
    """Nobody knows whether there is one."""
    return result_request(found, comparison=PriorComparison("", "", 0, "s", notice="They could not be fetched."))


def compared_screening(found: Reading) -> ResultRequest:
    """Lung-RADS knows what became of each nodule."""
    request, exam = compared(found), Exam(Purpose.SCREENING, "it came from CT1", 64, True)
    guidance = guidance_of(exam, found.findings, Conclusion(Outcome.FINDINGS), request.comparison)
    return replace(request, guidance=guidance)
