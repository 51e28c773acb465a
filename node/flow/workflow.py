"""Requests about procedure steps to SQL: what is asked is done in one transaction, or refused by name."""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime

from pydicom import Dataset
from sqlalchemy.orm import Session

from node.catalog import audit, jobs, revisions, studies, workitems
from node.catalog.session import Catalog
from node.catalog.workitems import Item
from node.dicom.ups_orders import Change, Order
from node.domain.admins import Caller
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.job import JobState
from node.domain.procedure import Step, StepState
from node.domain.procedure_events import FILTERED_SUBSCRIPTION, GLOBAL_SUBSCRIPTION, EventType, content_of
from node.domain.procedure_rules import UpsStatus, is_well, to_cancel, to_change, to_update
from node.errors import StepRefused
from node.flow.announce import is_for, tell_all
from node.flow.order import order

GLOBAL = (GLOBAL_SUBSCRIPTION, FILTERED_SUBSCRIPTION)


class Requests:
    """Serves `dicom.ups_scp.Workflow`. Opens the catalog for each request."""

    def __init__(
        self,
        opened: Callable[[], AbstractContextManager[Catalog]],
        reachable: Collection[str],
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._opened = opened
        self._reachable = reachable
        """AE titles that we know an address of: who can be told of events."""
        self._now = now

    def find(self, wanted: Mapping[str, str]) -> Iterator[Step]:
        """Steps that may match, newest first."""
        with self._opened() as catalog, catalog.reading() as session:
            yield from workitems.find(session, wanted)

    def get(self, uid: str) -> Step:
        """One step."""
        with self._opened() as catalog, catalog.reading() as session:
            return _item(session, uid).step

    def order(self, asked: Order, by: Caller) -> str:
        """Have a study read; returns the UID of the step."""
        _require_admin(by)
        with self._opened() as catalog, catalog.writing() as session:
            return order(session, asked, by, self._now())

    def change(self, uid: str, change: Change, by: Caller) -> int:
        """Set what the orderer may choose."""
        _require_admin(by)
        with self._opened() as catalog, catalog.writing() as session:
            item = _locked(session, uid)
            _require(to_update(item.step.standing.state, change.transaction_uid, item.transaction_uid))
            now = self._now()
            workitems.set_given(session, item.row_id, {**item.step.given, **change.given}, now)
            if change.priority is not None and item.job_id is not None:
                jobs.prioritise(session, jobs.get(session, item.job_id), change.priority)
            said = [*change.given, *(["ScheduledProcedureStepPriority"] if change.priority is not None else [])]
            _record(session, EventKind.STEP_CHANGED, item, by, {"attributes": " ".join(said)})
        return UpsStatus.COERCED if change.modified else UpsStatus.SUCCESS

    def change_state(self, uid: str, wanted: StepState, transaction_uid: str, by: Caller) -> int:
        """Only who holds the lock may end a step, and that is our own worker."""
        _require_step(uid)
        _require_admin(by)
        with self._opened() as catalog, catalog.writing() as session:
            item = _locked(session, uid)
            status = to_change(item.step.standing.state, wanted, transaction_uid, item.transaction_uid)
            _require(status)
            if status is UpsStatus.SUCCESS:
                self._cancel(session, item, "Its performer gave it up.", by)
            return status

    def request_cancel(self, uid: str, why: str, by: Caller) -> int:
        """Stop what waits or runs; our own worker never objects."""
        _require_step(uid)
        _require_admin(by)
        with self._opened() as catalog, catalog.writing() as session:
            item = _locked(session, uid)
            status = to_cancel(item.step.standing.state, stoppable=_is_stoppable(session, item))
            _require(status)
            if status is UpsStatus.SUCCESS:
                self._cancel(session, item, why, by)
            return status

    def _cancel(self, session: Session, item: Item, why: str, by: Caller) -> None:
        assert item.job_id is not None
        now, content = self._now(), {"by": by.ae_title, "why": why[:10240]}
        _record(session, EventKind.CANCEL_REQUESTED, item, by, {})
        tell_all(session, item, [EventType.CANCEL_REQUESTED], content, now)
        revisions.cancel(session, jobs.get(session, item.job_id), now)

    def subscribe(self, uid: str, ae_title: str, lock: bool, filtered: Dataset, by: Caller) -> int:
        """Tell somebody whom we know an address of: first where the step stands, then what happens to it."""
        self._require_reachable(ae_title)
        with self._opened() as catalog, catalog.writing() as session:
            now = self._now()
            if uid in GLOBAL:
                keys = filtered.to_json_dict() if uid == FILTERED_SUBSCRIPTION else {}
                to = workitems.Subscriber(ae_title, lock, keys)
                workitems.subscribe_to_all(session, to, now)
                steps = [item for item in workitems.open_items(session) if is_for(to, item.step)]
            else:
                steps = [_item(session, uid)]
            for item in steps:
                workitems.subscribe(session, ae_title, item.row_id, lock=lock, now=now)
                content = content_of(item.step.standing)
                workitems.enqueue(session, ae_title, item.step.uid, EventType.STATE_REPORT, content, now)
            _subscribed(session, uid, ae_title, by, "subscribed, with lock" if lock else "subscribed")
        return UpsStatus.SUCCESS

    def _require_reachable(self, ae_title: str) -> None:
        if not self._reachable:
            raise StepRefused(UpsStatus.NO_EVENT_REPORTS, "No subscribers are named in the settings.")
        if ae_title not in self._reachable:
            raise StepRefused(UpsStatus.UNKNOWN_AE_TITLE, "No address of the Receiving AE is known.")

    def unsubscribe(self, uid: str, ae_title: str, by: Caller) -> int:
        """Tell no more, of one step or of all."""
        self._require_reachable(ae_title)
        with self._opened() as catalog, catalog.writing() as session:
            if uid in GLOBAL:
                workitems.unsubscribe_from_all(session, ae_title)
            else:
                workitems.unsubscribe(session, ae_title, _item(session, uid).row_id)
            _subscribed(session, uid, ae_title, by, "unsubscribed")
        return UpsStatus.SUCCESS

    def suspend(self, uid: str, ae_title: str, by: Caller) -> int:
        """Tell of no new steps; of those that are known go on."""
        if uid not in GLOBAL:
            raise StepRefused(UpsStatus.ACTION_NOT_APPROPRIATE, "Only a global subscription is suspended.")
        self._require_reachable(ae_title)
        with self._opened() as catalog, catalog.writing() as session:
            workitems.suspend(session, ae_title)
            _subscribed(session, uid, ae_title, by, "suspended")
        return UpsStatus.SUCCESS


def _require(status: UpsStatus) -> None:
    if not is_well(status):
        raise StepRefused(status, f"Not in this state: {status.name.lower().replace('_', ' ')}.")


def _require_admin(by: Caller) -> None:
    if not by.is_admin:
        raise StepRefused(UpsStatus.NOT_AUTHORISED, "Only admins of the settings order and stop work.")


def _require_step(uid: str) -> None:
    if uid in GLOBAL:
        raise StepRefused(UpsStatus.ACTION_NOT_APPROPRIATE, "A subscription is no step.")


def _item(session: Session, uid: str) -> Item:
    item = workitems.step(session, uid)
    if item is None:
        raise StepRefused(UpsStatus.NO_SUCH_STEP, "There is no step of this SOP Instance UID.")
    return item


def _locked(session: Session, uid: str) -> Item:
    """A step whose study and jobs nobody else changes in this transaction."""
    item = _item(session, uid)
    studies.lock(session, item.step.subject.study_instance_uid)
    jobs.lock(session, item.study_id)
    return _item(session, uid)


def _is_stoppable(session: Session, item: Item) -> bool:
    if item.job_id is None:
        return False
    return jobs.get(session, item.job_id).state in (JobState.QUEUED, JobState.RUNNING)


def _record(session: Session, kind: EventKind, item: Item, by: Caller, detail: Detail) -> None:
    about = {"sop_instance_uid": item.step.uid, **detail}
    study = item.step.subject.study_instance_uid
    audit.append(session, Event(kind, EventOutcome.SUCCESS, by.ae_title, by.address, study, item.job_id, about))


def _subscribed(session: Session, uid: str, ae_title: str, by: Caller, what: str) -> None:
    detail: Detail = {"sop_instance_uid": uid, "receiver": ae_title, "change": what}
    kind, well = EventKind.SUBSCRIPTION_CHANGED, EventOutcome.SUCCESS
    audit.append(session, Event(kind, well, by.ae_title, by.address, detail=detail))
