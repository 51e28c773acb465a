"""Answers C-FIND: Study Root at STUDY, SERIES and IMAGE level, and how far the analysis of a study is."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag, Tag
from pynetdicom import evt

from node.dicom import statuses
from node.domain.query import JOB_KEYS, KEYS, PRIVATE_CREATOR, PRIVATE_GROUP, Query, QueryLevel, Value
from node.domain.reception import QueryAnswered
from node.errors import NodusError

log = logging.getLogger(__name__)

Answer = tuple[int, Dataset | None]
Find = Callable[[Query], Iterable[Mapping[str, Value]]]
NOT_KEYS = frozenset(
    {"QueryRetrieveLevel", "SpecificCharacterSet", "TimezoneOffsetFromUTC", "RetrieveAETitle", "InstanceAvailability"}
)


class QuerySCP:
    """Serves EVT_C_FIND from a callback that knows SQL."""

    def __init__(self, ae_title: str, find: Find, on_event: Callable[[QueryAnswered], None]) -> None:
        self._ae_title = ae_title
        self._find = find
        self._on_event = on_event

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
        try:
            identifier = event.identifier
            query = query_of(identifier)
        except (NodusError, AttributeError, ValueError, KeyError, TypeError):
            yield statuses.IDENTIFIER_MISMATCH, None
            return
        yield from self._matches(event, query, identifier)

    def _matches(self, event: evt.Event, query: Query, identifier: Dataset) -> Iterator[Answer]:
        pending = statuses.PENDING_WITH_UNSUPPORTED_KEYS if _unsupported(identifier, query.level) else statuses.PENDING
        for row in self._find(query):
            if event.is_cancelled:
                yield statuses.CANCELLED, None
                return
            yield pending, self._response(query, identifier, row)

    def _response(self, query: Query, identifier: Dataset, row: Mapping[str, Value]) -> Dataset:
        response = Dataset()
        response.SpecificCharacterSet = "ISO_IR 192"
        response.QueryRetrieveLevel = query.level
        response.RetrieveAETitle = self._ae_title
        response.InstanceAvailability = "ONLINE"
        known = KEYS[query.level]
        for element in identifier:
            keyword = keyword_for_tag(element.tag)
            if keyword in known:
                setattr(response, keyword, _encodable(row.get(keyword)))
            elif keyword and keyword not in NOT_KEYS and element.tag.group != PRIVATE_GROUP:
                response.add(DataElement(element.tag, element.VR, [] if element.VR == "SQ" else None))
        if query.job_keys:
            _add_job_values(response, query, row)
        return response


def _level(event: evt.Event) -> str:
    try:
        return QueryLevel(str(event.identifier.QueryRetrieveLevel))
    except Exception:  # noqa: BLE001 - whatever is wrong with the identifier was answered already
        return ""


def query_of(identifier: Dataset) -> Query:
    """Read a C-FIND identifier. Raises ValueError for an unknown level, or none."""
    level = QueryLevel(str(identifier.QueryRetrieveLevel))
    keys = {}
    for element in identifier:
        keyword = keyword_for_tag(element.tag)
        if keyword in KEYS[level]:
            keys[keyword] = _text(element.value)
    return Query(level, keys, _job_keys(identifier))


def _job_keys(identifier: Dataset) -> dict[str, str]:
    """Private keys asked for; values come as bytes of VR UN when the sender does not know them."""
    block = _private_block(identifier)
    if block is None:
        return {}
    names = {_private_tag(block, number): name for name, (number, _) in JOB_KEYS.items()}
    return {names[element.tag]: _text(element.value) for element in identifier if element.tag in names}


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
    return any(name not in KEYS[level] and name not in NOT_KEYS for name in names)


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace").strip("\0 ")
    if not isinstance(value, (list, tuple, MultiValue)):
        return str(value).strip()
    return "\\".join(str(part).strip() for part in value)


def _encodable(value: Value) -> object:
    if value is None:
        return None
    return value if isinstance(value, (str, int)) else list(value)
