"""Takes counts: Modality Performed Procedure Step (PS3.4 F.7), Instance Availability Notification (PS3.4 R)."""

import logging
import threading
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from pydicom import Dataset
from pynetdicom import evt
from pynetdicom.sop_class import InstanceAvailabilityNotification, ModalityPerformedProcedureStep

from node.dicom import statuses
from node.domain.announcement import FINAL, StepState, Teller
from node.domain.reception import CountRefused, CountTold

log = logging.getLogger(__name__)

CREATED_WITHIN_S = 2.0
"""A step that was created a moment ago, over another association, is in the catalog by then."""
LOOKS_EVERY_S = 0.1
MOST_SERIES = 1000
LONGEST_UID = 64
AVAILABLE = ("ONLINE", "NEARLINE")
"""Instance Availability (PS3.3 C.4.23.1.1)."""

Known = Callable[[Teller, str], StepState | None]
"""State of a step or notification that was told of before; None where there is none."""


class Refused(Exception):
    """An N-CREATE or N-SET is not taken; `status` says why (PS3.7 C)."""

    def __init__(self, status: int) -> None:
        super().__init__(f"0x{status:04X}")
        self.status = status


class AnnounceSCP:
    """Serves EVT_N_CREATE and EVT_N_SET. Success says that what was told cannot be lost any more."""

    def __init__(
        self, known: Known, keep: Callable[[CountTold], None], on_refused: Callable[[CountRefused], None]
    ) -> None:
        self._known = known
        self._keep = keep
        self._on_refused = on_refused

    def on_create(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """A step begins, or a notification comes, whole at once."""
        teller = _teller_of(event.request.AffectedSOPClassUID)
        uid = str(event.request.AffectedSOPInstanceUID or "")
        return self._answered(event, teller, uid, self._created), None

    def on_set(self, event: evt.Event) -> tuple[int, Dataset | None]:
        """A step goes on, or ends."""
        teller = _teller_of(event.request.RequestedSOPClassUID)
        uid = str(event.request.RequestedSOPInstanceUID or "")
        return self._answered(event, teller, uid, self._changed), None

    def _answered(
        self, event: evt.Event, teller: Teller | None, uid: str, take: Callable[[evt.Event, Teller, str], CountTold]
    ) -> int:
        peer = event.assoc.requestor
        title = str(peer.primitive.calling_ae_title)
        try:
            if teller is None:
                raise Refused(statuses.NO_SUCH_SOP_CLASS)
            if not 0 < len(uid) <= LONGEST_UID:
                raise Refused(statuses.INVALID_OBJECT_INSTANCE)
            self._keep(take(event, teller, uid))
        except Refused as refused:
            told = CountRefused(title, str(peer.address), str(teller or ""), uid[:LONGEST_UID], refused.status, _now())
            self._on_refused(told)
            return refused.status
        except Exception:
            log.exception("what was told of a study could not be kept: it is not acknowledged")
            return statuses.PROCESSING_FAILURE
        return statuses.SUCCESS

    def _created(self, event: evt.Event, teller: Teller, uid: str) -> CountTold:
        told = _parsed(event, "attribute_list")
        if self._known(teller, uid) is not None:
            raise Refused(statuses.DUPLICATE_SOP_INSTANCE)
        if teller is Teller.IAN:
            return _told(event, teller, uid, _required(told, "StudyInstanceUID"), StepState.COMPLETED, _available(told))
        if _required(told, "PerformedProcedureStepStatus") != StepState.IN_PROGRESS:
            raise Refused(statuses.INVALID_ATTRIBUTE_VALUE)
        scheduled = told.get("ScheduledStepAttributesSequence") or [Dataset()]
        study = _required(scheduled[0], "StudyInstanceUID")
        return _told(event, teller, uid, study, StepState.IN_PROGRESS, _performed(told))

    def _changed(self, event: evt.Event, teller: Teller, uid: str) -> CountTold:
        told = _parsed(event, "modification_list")
        if teller is Teller.IAN:
            raise Refused(statuses.UNRECOGNISED_OPERATION)
        state = self._state_of(uid)
        if state is None:
            raise Refused(statuses.NO_SUCH_SOP_INSTANCE)
        if state in FINAL:
            raise Refused(statuses.PROCESSING_FAILURE)  # "may no longer be updated" (PS3.4 Table F.7.2-2)
        try:
            new = StepState(str(told.get("PerformedProcedureStepStatus") or state))
        except ValueError:
            raise Refused(statuses.INVALID_ATTRIBUTE_VALUE) from None
        return _told(event, teller, uid, "", new, _performed(told))

    def _state_of(self, uid: str) -> StepState | None:
        until, pause = time.monotonic() + CREATED_WITHIN_S, threading.Event()
        while (state := self._known(Teller.MPPS, uid)) is None and time.monotonic() < until:
            pause.wait(LOOKS_EVERY_S)
        return state


def _teller_of(sop_class_uid: object) -> Teller | None:
    known = {ModalityPerformedProcedureStep: Teller.MPPS, InstanceAvailabilityNotification: Teller.IAN}
    return {str(uid): teller for uid, teller in known.items()}.get(str(sop_class_uid))


def _parsed(event: evt.Event, name: str) -> Dataset:
    """Raises Refused for what does not parse."""
    try:
        told = getattr(event, name)
        for element in told:  # pydicom parses what it is asked for
            del element
    except Exception as error:
        raise Refused(statuses.INVALID_ARGUMENT) from error
    return told if isinstance(told, Dataset) else Dataset()


def _required(told: Dataset, keyword: str) -> str:
    if keyword not in told:
        raise Refused(statuses.MISSING_ATTRIBUTE)
    value = str(told.get(keyword) or "")
    if not 0 < len(value) <= LONGEST_UID:
        raise Refused(statuses.MISSING_ATTRIBUTE_VALUE)
    return value


def _performed(told: Dataset) -> dict[str, int]:
    """Series of a step, and how many instances each refers to, images or not."""
    counts = dict[str, int]()
    for series in _items(told, "PerformedSeriesSequence"):
        lists = ("ReferencedImageSequence", "ReferencedNonImageCompositeSOPInstanceSequence")
        uids = {str(item.get("ReferencedSOPInstanceUID")) for name in lists for item in _items(series, name)}
        _put(counts, series, len(uids))
    return counts


def _available(told: Dataset) -> dict[str, int]:
    """Series of a notification, and how many instances of each can be had."""
    counts = dict[str, int]()
    for series in _items(told, "ReferencedSeriesSequence"):
        items = _items(series, "ReferencedSOPSequence")
        here = {str(each.get("ReferencedSOPInstanceUID")) for each in items if _is_available(each)}
        _put(counts, series, len(here))
    return counts


def _is_available(item: Dataset) -> bool:
    return str(item.get("InstanceAvailability", "ONLINE")) in AVAILABLE


def _put(counts: dict[str, int], series: Dataset, number: int) -> None:
    uid = str(series.get("SeriesInstanceUID") or "")
    if 0 < len(uid) <= LONGEST_UID and number and len(counts) < MOST_SERIES:
        counts[uid] = counts.get(uid, 0) + number


def _items(told: Dataset, keyword: str) -> Iterable[Dataset]:
    found = told.get(keyword)
    return found if found and not isinstance(found, str | bytes) else ()


def _told(
    event: evt.Event, teller: Teller, uid: str, study_instance_uid: str, state: StepState, series: dict[str, int]
) -> CountTold:
    peer = event.assoc.requestor
    title, address = str(peer.primitive.calling_ae_title), str(peer.address)
    return CountTold(title, address, teller, uid, study_instance_uid, state, tuple(series.items()), _now())


def _now() -> datetime:
    return datetime.now(UTC)
