"""What receivers serve beside C-STORE and C-ECHO, by SOP class: who asks is answered from SQL."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from pynetdicom import evt
from pynetdicom.sop_class import ModalityWorklistInformationFind

from node.catalog import overview
from node.catalog.session import Catalog
from node.dicom.announce_scp import AnnounceSCP
from node.dicom.commit_scp import CommitSCP
from node.dicom.contexts import COUNTS, UNIFIED_PROCEDURE_STEP
from node.dicom.query_scp import QuerySCP
from node.dicom.ups_scp import UpsSCP
from node.dicom.worklist_scp import WorklistSCP
from node.directory import catalog_of, disk_of
from node.domain import admins
from node.domain.matching import Value
from node.domain.reception import ListeningEvent
from node.flow.workflow import Requests
from node.settings import Settings

Answer = Callable[[evt.Event], Any]
Handlers = Sequence[tuple[evt.EventType, Callable[..., Any]]]


@dataclass(frozen=True)
class Others:
    """Who answers what is not about procedure steps."""

    asking: QuerySCP
    counting: AnnounceSCP
    promising: CommitSCP


def handlers(settings: Settings, others: Others, tell: Callable[[ListeningEvent], None]) -> Handlers:
    """C-FIND and the N-services, each by its SOP class."""
    requests = Requests(partial(_opened, settings), {each.ae_title for each in settings.event_receivers})
    steps = UpsSCP(settings.ae_title, requests, partial(is_admin, settings), tell)
    worklist = WorklistSCP(settings.worklist_ae_title, requests, tell)
    finds = {ModalityWorklistInformationFind: worklist.on_find}
    finds |= dict.fromkeys(UNIFIED_PROCEDURE_STEP, steps.on_find)
    actions = dict.fromkeys(UNIFIED_PROCEDURE_STEP, steps.on_action)
    return (
        (evt.EVT_C_FIND, _by_class(finds, others.asking.on_find)),
        (
            evt.EVT_N_ACTION,
            _by_class(actions, others.promising.on_request),
        ),
        (evt.EVT_N_GET, steps.on_get),
        (evt.EVT_N_CREATE, _by_class(dict.fromkeys(COUNTS, others.counting.on_create), steps.on_create)),
        (evt.EVT_N_SET, _by_class(dict.fromkeys(COUNTS, others.counting.on_set), steps.on_set)),
    )


def _by_class(known: Mapping[str, Answer], rest: Answer) -> Answer:
    return lambda event: known.get(event.context.abstract_syntax, rest)(event)


def is_admin(settings: Settings, ae_title: str, address: str) -> bool:
    """Whether the settings name a caller as an admin."""
    return admins.is_admin([each.admin() for each in settings.admins], ae_title, address)


def own_state(settings: Settings) -> dict[str, Value]:
    """What the node knows of itself, for admins: values of ADMIN_KEYS."""
    free, refusing = disk_of(settings)
    with _opened(settings) as catalog, catalog.reading() as session:
        return {**overview.own_state(session), "StorageLeft": max(0, int(free - refusing) >> 20)}


@contextmanager
def _opened(settings: Settings) -> Iterator[Catalog]:
    catalog = catalog_of(settings)
    try:
        yield catalog
    finally:
        catalog.close()
