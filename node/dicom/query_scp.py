"""Answers C-FIND: Patient Root and Study Root at all levels, and how far the analysis of a study is."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.tag import BaseTag, Tag
from pynetdicom import evt

from node.dicom import pacing, statuses
from node.dicom.charsets import settle_charset
from node.dicom.query_models import NOTHING, Granted, granted_to, levels_of
from node.domain.matching import Value
from node.domain.query import ADMIN_KEYS, IN_FILE, JOB_KEYS, KEYS, PRIVATE_CREATOR, PRIVATE_GROUP, Query, QueryLevel
from node.domain.reception import AuditLogUsed, QueryAnswered
from node.errors import NodusError
from node.headers.asked import element_of, key_of
from node.headers.asked import text_of as _text

log = logging.getLogger(__name__)

Answer = tuple[int, Dataset | None]
Find = Callable[[Query], Iterable[Mapping[str, Value] | None]]
"""What matches; None for each that was looked at and does not, so that a cancel is heard meanwhile."""
NOT_KEYS = frozenset(
    {"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC", "RetrieveAETitle", "InstanceAvailability"}
)


@dataclass(frozen=True)
class ForAdmins:
    """What only admins are told."""

    permits: Callable[[str, str], bool]
    """Whether an AE title at an address is an admin."""
    values: Callable[[], Mapping[str, Value]]
    """Values of ADMIN_KEYS."""


NO_ADMINS = ForAdmins(lambda *_: False, dict)


class QuerySCP:
    """Serves EVT_C_FIND from callbacks that know SQL."""

    def __init__(
        self,
        ae_title: str,
        find: Find,
        on_event: Callable[[QueryAnswered | AuditLogUsed], None],
        may_ask: Callable[[evt.Event], bool] = lambda _: True,
        most: int = 5000,
        for_admins: ForAdmins = NO_ADMINS,
    ) -> None:
        self._ae_title = ae_title
        self._find = find
        self._on_event = on_event
        self._may_ask = may_ask
        self._most = most
        self._for_admins = for_admins

    def on_find(self, event: evt.Event) -> Iterator[Answer]:
        """One Pending per match, then the final status; told when it is over, also where the peer went away."""
        answers, last = 0, statuses.SUCCESS
        try:
            for status, response in self._answers(event):
                answers += response is not None
                last = statuses.SUCCESS if response is not None else status
                yield status, response
        finally:
            peer = event.assoc.requestor
            title = peer.primitive.calling_ae_title
            self._on_event(QueryAnswered(title, peer.address, _level(event), answers, last, datetime.now(UTC)))

    def _answers(self, event: evt.Event) -> Iterator[Answer]:
        try:
            yield from self._found(event)
        except Exception:
            log.exception("a C-FIND failed")
            yield statuses.UNABLE_TO_PROCESS, None

    def _found(self, event: evt.Event) -> Iterator[Answer]:
        if not self._may_ask(event):
            yield statuses.NOT_AUTHORISED, None
            return
        try:
            identifier = event.identifier
            query = asked_of(event, identifier)
        except (NodusError, AttributeError, ValueError, KeyError, TypeError):
            yield statuses.IDENTIFIER_MISMATCH, None
            return
        yield from self._matches(event, query, identifier)

    def _matches(self, event: evt.Event, query: Query, identifier: Dataset) -> Iterator[Answer]:
        """Success when all is told; A700 after as many matches as are told at most (PS3.4 Table C.4-1)."""
        to_admins = self._told_to_admins(event, query)
        unsupported = _unsupported(identifier, query.level) or to_admins is None
        pending = statuses.PENDING_WITH_UNSUPPORTED_KEYS if unsupported else statuses.PENDING
        told = 0
        for row in self._find(query):
            if event.is_cancelled:
                yield statuses.CANCELLED, None
                return
            if row is None:
                continue
            if told == self._most:
                yield statuses.OUT_OF_RESOURCES, None
                return
            told += 1
            pacing.wait_for_room(event.assoc)
            yield pending, self._response(query, identifier, {**row, **(to_admins or {})})

    def _told_to_admins(self, event: evt.Event, query: Query) -> Mapping[str, Value] | None:
        """Values of the admin keys that were asked for, which is written down; None: the caller may not know them."""
        asked = tuple(name for name in ADMIN_KEYS if name in query.job_keys)
        if not asked:
            return {}
        title, address = str(event.assoc.requestor.primitive.calling_ae_title), str(event.assoc.requestor.address)
        if not self._for_admins.permits(title, address):
            return None
        self._on_event(AuditLogUsed(title, address, asked, datetime.now(UTC)))
        return {name: value for name, value in self._for_admins.values().items() if name in asked}

    def _response(self, query: Query, identifier: Dataset, row: Mapping[str, Value]) -> Dataset:
        response = Dataset()
        response.QueryRetrieveLevel = query.level
        response.RetrieveAETitle = self._ae_title
        response.InstanceAvailability = row.get("InstanceAvailability", "ONLINE")
        known = KEYS[query.level]
        for element in identifier:
            keyword = keyword_for_tag(element.tag)
            if keyword in known:
                setattr(response, keyword, _encodable(row.get(keyword)))
            elif keyword in query.in_file:
                response.add(element_of(keyword, query.in_file[keyword], row.get(keyword)))
            elif keyword and keyword not in NOT_KEYS and element.tag.group != PRIVATE_GROUP:
                response.add(DataElement(element.tag, element.VR, [] if element.VR == "SQ" else None))
        if query.job_keys:
            _add_job_values(response, query, row)
        settle_charset(response, identifier.get("SpecificCharacterSet"))
        return response


def _level(event: evt.Event) -> str:
    try:
        return QueryLevel(str(event.identifier.QueryRetrieveLevel))
    except Exception:  # noqa: BLE001 - whatever is wrong with the identifier was answered already
        return ""


def asked_of(event: evt.Event, identifier: Dataset, levels: tuple[QueryLevel, ...] = ()) -> Query:
    """What a request asks for. Raises ValueError for a level that its model has not, or without the unique keys of the
    levels above it, as they must be given unless relational queries were negotiated."""
    granted, levels = granted_to(event), levels or levels_of(event.context.abstract_syntax)
    query = query_of(identifier, granted)
    if query.level not in levels:
        raise ValueError("the model has no such level")
    if query.lacks_unique_keys(levels) and not granted.relational:
        raise ValueError("a unique key of a level above is missing")
    return query


def query_of(identifier: Dataset, granted: Granted = NOTHING) -> Query:
    """Read an identifier. Raises ValueError for an unknown level, or none."""
    level = QueryLevel(str(identifier.QueryRetrieveLevel))
    keys, in_file = {}, {}
    for element in identifier:
        keyword = keyword_for_tag(element.tag)
        if keyword in KEYS[level]:
            keys[keyword] = _text(element.value)
        elif keyword in IN_FILE[level]:
            in_file[keyword] = key_of(element)
    job_keys = {} if level is QueryLevel.PATIENT else _job_keys(identifier)
    return Query(level, keys, job_keys, in_file, granted.together)


def _job_keys(identifier: Dataset) -> dict[str, str]:
    """Private keys asked for; values come as bytes of VR UN when the sender does not know them."""
    block = _private_block(identifier)
    if block is None:
        return {}
    names = {_private_tag(block, number): name for name, (number, _) in JOB_KEYS.items()}
    asked = {names[element.tag]: _text(element.value) for element in identifier if element.tag in names}
    return {name: "" if name in ADMIN_KEYS else value for name, value in asked.items()}


def _private_block(identifier: Dataset) -> int | None:
    for number in range(0x10, 0x100):
        element = identifier.get((PRIVATE_GROUP, number))
        if element is not None and _text(element.value) == PRIVATE_CREATOR:
            return number
    return None


def _private_tag(block: int, number: int) -> BaseTag:
    return Tag(PRIVATE_GROUP, block << 8 | number)


def _add_job_values(response: Dataset, query: Query, row: Mapping[str, Value]) -> None:
    response.add(DataElement(Tag(PRIVATE_GROUP, 0x10), "LO", PRIVATE_CREATOR))
    for name in query.job_keys:
        number, vr = JOB_KEYS[name]
        response.add(DataElement(_private_tag(0x10, number), vr, _encodable(row.get(name))))


def _unsupported(identifier: Dataset, level: QueryLevel) -> bool:
    names = (keyword_for_tag(element.tag) for element in identifier if element.tag.group != PRIVATE_GROUP)
    known = KEYS[level].keys() | IN_FILE[level] | NOT_KEYS
    return any(name not in known for name in names)


def _encodable(value: Value) -> object:
    if value is None:
        return None
    return value if isinstance(value, (str, int, float)) else list(value)
