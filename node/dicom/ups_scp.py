"""Serves Unified Procedure Steps: the jobs, as workflow managers and admins ask for, order and stop them (PS3.4 CC)."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from pydicom import Dataset
from pydicom.tag import BaseTag
from pynetdicom import evt

from node.dicom import keys, statuses
from node.dicom.ups_dataset import dataset_of
from node.dicom.ups_orders import Change, Order, change_of, order_of
from node.domain.admins import Caller
from node.domain.procedure import Step, StepState
from node.domain.procedure_rules import UpsStatus, is_well
from node.domain.reception import QueryAnswered, StepRequestRefused
from node.errors import StepRefused

log = logging.getLogger(__name__)

CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND_GLOBAL = 1, 2, 3, 4, 5
"""Action Types (PS3.4 CC.2)."""
Answer = tuple[int | Dataset, Dataset | None]
Tell = Callable[[QueryAnswered | StepRequestRefused], None]


class Workflow(Protocol):
    """Steps, from whoever knows SQL. Each method raises StepRefused."""

    def find(self, wanted: Mapping[str, str]) -> Iterable[Step]:
        """Steps that may match, newest first."""

    def get(self, uid: str) -> Step:
        """One step."""

    def order(self, order: Order, by: Caller) -> str:
        """Have a study read; returns the UID of the step."""

    def change(self, uid: str, change: Change, by: Caller) -> int:
        """Set attributes; returns the status."""

    def change_state(self, uid: str, wanted: StepState, transaction_uid: str, by: Caller) -> int:
        """Begin or end a step; returns the status."""

    def request_cancel(self, uid: str, why: str, by: Caller) -> int:
        """Ask for its end; returns the status."""

    def subscribe(self, uid: str, ae_title: str, lock: bool, filtered: Dataset, by: Caller) -> int:
        """Tell somebody of one step, or of all; returns the status."""

    def unsubscribe(self, uid: str, ae_title: str, by: Caller) -> int:
        """Tell no more."""

    def suspend(self, uid: str, ae_title: str, by: Caller) -> int:
        """Tell of no new ones."""


class UpsSCP:
    """Serves C-FIND, N-GET, N-CREATE, N-SET and N-ACTION of UPS Push, Pull, Watch and Query."""

    def __init__(self, ae_title: str, workflow: Workflow, is_admin: Callable[[str, str], bool], tell: Tell) -> None:
        self._ae_title = ae_title
        self._workflow = workflow
        self._is_admin = is_admin
        self._tell = tell

    def caller(self, event: evt.Event) -> Caller:
        """Who asks."""
        peer = event.assoc.requestor
        title, address = str(peer.primitive.calling_ae_title), str(peer.address)
        return Caller(title, address, self._is_admin(title, address))

    def on_find(self, event: evt.Event) -> Iterator[Answer]:
        """One Pending for each step that matches, then the final status."""
        as_dataset = lambda step: dataset_of(step, self._ae_title)  # noqa: E731
        yield from answer_find(event, self._workflow.find, as_dataset, self._tell, "UPS")

    def on_get(self, event: evt.Event) -> Answer:
        """The attributes that were asked for, or all; never the Transaction UID, which is the lock."""
        return self._answered(event, "N-GET", partial(self._get, event))

    def _get(self, event: evt.Event, uid: str, _: Caller) -> Answer:
        everything = dataset_of(self._workflow.get(uid), self._ae_title)
        tags: list[BaseTag] = list(event.attribute_identifiers or [])
        if not tags:
            return UpsStatus.SUCCESS, everything
        some = Dataset()
        for tag in tags:
            if tag in everything:
                some.add(everything[tag])
        some.SpecificCharacterSet = "ISO_IR 192"
        return UpsStatus.SUCCESS if all(tag in everything for tag in tags) else UpsStatus.ATTRIBUTES_NOT_SUPPORTED, some

    def on_create(self, event: evt.Event) -> Answer:
        """An order: a study that is here is read, or read again."""
        return self._answered(event, "N-CREATE", partial(self._create, event))

    def _create(self, event: evt.Event, uid: str, by: Caller) -> Answer:
        order = order_of(uid, event.attribute_list)
        made = dataset_of(self._workflow.get(self._workflow.order(order, by)), self._ae_title)
        response = Dataset()
        if not uid:
            response.AffectedSOPInstanceUID = made.SOPInstanceUID
            return UpsStatus.SUCCESS, response
        return UpsStatus.CREATED_WITH_MODIFICATIONS if order.modified else UpsStatus.SUCCESS, response

    def on_set(self, event: evt.Event) -> Answer:
        """Changes what the orderer may choose, before the work begins."""
        return self._answered(event, "N-SET", partial(self._set, event))

    def _set(self, event: evt.Event, uid: str, by: Caller) -> Answer:
        return self._workflow.change(uid, change_of(event.modification_list), by), None

    def on_action(self, event: evt.Event) -> Answer:
        """Change state, request cancel, subscribe, unsubscribe, suspend."""
        actions = {
            CHANGE_STATE: self._change_state,
            REQUEST_CANCEL: self._request_cancel,
            SUBSCRIBE: self._subscribe,
            UNSUBSCRIBE: self._unsubscribe,
            SUSPEND_GLOBAL: self._suspend,
        }
        action = actions.get(event.action_type, self._no_action)
        return self._answered(event, f"N-ACTION {event.action_type}", partial(action, event))

    def _no_action(self, event: evt.Event, _uid: str, _by: Caller) -> Answer:
        text = f"There is no action {event.action_type}."
        raise StepRefused(UpsStatus.ACTION_NOT_APPROPRIATE, text)

    def _change_state(self, event: evt.Event, uid: str, by: Caller) -> Answer:
        asked = event.action_information
        try:
            wanted = StepState(str(asked.ProcedureStepState))
        except ValueError:
            raise StepRefused(UpsStatus.INVALID_ARGUMENT, "There is no such Procedure Step State.") from None
        return self._workflow.change_state(uid, wanted, str(asked.get("TransactionUID") or ""), by), None

    def _request_cancel(self, event: evt.Event, uid: str, by: Caller) -> Answer:
        asked = event.action_information if event.request.ActionInformation else Dataset()
        return self._workflow.request_cancel(uid, str(asked.get("ReasonForCancellation") or ""), by), None

    def _subscribe(self, event: evt.Event, uid: str, by: Caller) -> Answer:
        asked = event.action_information
        title, lock = _receiver(asked), str(asked.get("DeletionLock") or "FALSE").upper() == "TRUE"
        filtered = Dataset()
        filtered.update({each.tag: each for each in asked if each.keyword not in ("ReceivingAE", "DeletionLock")})
        return self._workflow.subscribe(uid, title, lock, filtered, by), None

    def _unsubscribe(self, event: evt.Event, uid: str, by: Caller) -> Answer:
        return self._workflow.unsubscribe(uid, _receiver(event.action_information), by), None

    def _suspend(self, event: evt.Event, uid: str, by: Caller) -> Answer:
        return self._workflow.suspend(uid, _receiver(event.action_information), by), None

    def _answered(self, event: evt.Event, operation: str, act: Callable[[str, Caller], Answer]) -> Answer:
        """What became of a request; one that was not granted is told."""
        uid, by = _uid_of(event.request), self.caller(event)
        try:
            status, answer = act(uid, by)
            comment = ""
        except StepRefused as refused:
            status, answer, comment = refused.status, None, str(refused)
        except (AttributeError, ValueError, TypeError, KeyError):
            status, answer, comment = UpsStatus.INVALID_ARGUMENT, None, "The request does not parse."
        except Exception:
            log.exception("a request about a procedure step failed")
            cancels = operation == f"N-ACTION {REQUEST_CANCEL}"  # the performer is reached through the database
            failure = UpsStatus.PERFORMER_NOT_REACHED if cancels else UpsStatus.PROCESSING_FAILURE
            status, answer, comment = failure, None, "The node cannot do that now."
        if not is_well(int(status)):
            refused_at = datetime.now(UTC)
            self._tell(StepRequestRefused(by.ae_title, by.address, operation, uid[:64], int(status), refused_at))
        return (_with_comment(int(status), comment) if comment else int(status)), answer


def answer_find(
    event: evt.Event,
    find: Callable[[Mapping[str, str]], Iterable[Step]],
    as_dataset: Callable[[Step], Dataset],
    tell: Callable[[QueryAnswered], None],
    level: str,
) -> Iterator[Answer]:
    """C-FIND over steps, told when it is over, also where the peer went away."""
    answers, last = 0, statuses.SUCCESS
    try:
        for status, response in _found(event, find, as_dataset):
            answers += response is not None
            last = statuses.SUCCESS if response is not None else status
            yield status, response
    finally:
        peer = event.assoc.requestor
        title = str(peer.primitive.calling_ae_title)
        tell(QueryAnswered(title, str(peer.address), level, answers, last, datetime.now(UTC)))


def _found(event: evt.Event, find: Any, as_dataset: Callable[[Step], Dataset]) -> Iterator[tuple[int, Dataset | None]]:
    try:
        identifier = event.identifier
        wanted = keys.plain_keys(identifier)
    except (AttributeError, ValueError, KeyError, TypeError):
        yield statuses.IDENTIFIER_MISMATCH, None
        return
    try:
        for step in find(wanted):
            if event.is_cancelled:
                yield statuses.CANCELLED, None
                return
            full = as_dataset(step)
            if not keys.has_keys(identifier, full):
                return
            if keys.selects(identifier, full):
                yield _pending(identifier, full), _response(identifier, full)
    except Exception:
        log.exception("a C-FIND for steps failed")
        yield statuses.UNABLE_TO_PROCESS, None


def _pending(identifier: Dataset, full: Dataset) -> int:
    unsupported = keys.is_unsupported(identifier, full)
    return statuses.PENDING_WITH_UNSUPPORTED_KEYS if unsupported else statuses.PENDING


def _response(identifier: Dataset, full: Dataset) -> Dataset:
    response = keys.answer(identifier, full)
    response.SpecificCharacterSet, response.TimezoneOffsetFromUTC = full.SpecificCharacterSet, "+0000"
    return response


def _uid_of(request: Any) -> str:
    return str(
        getattr(request, "RequestedSOPInstanceUID", None) or getattr(request, "AffectedSOPInstanceUID", "") or ""
    )


def _receiver(asked: Dataset) -> str:
    return str(asked.ReceivingAE).strip()


def _with_comment(status: int, comment: str) -> Dataset:
    answer = Dataset()
    answer.Status, answer.ErrorComment = status, comment[:64]
    return answer
