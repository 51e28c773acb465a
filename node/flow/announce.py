"""Job to step: what happens to jobs is kept as the state of their steps, and queued for who subscribed to them."""

from collections.abc import Callable, Sequence
from datetime import datetime

from pydicom import Dataset
from sqlalchemy.orm import Session

from node.catalog import workitems
from node.catalog.session import Catalog
from node.catalog.workitems import Item, Subscriber
from node.dicom import keys
from node.dicom.ups_dataset import dataset_of
from node.domain.procedure import Step
from node.domain.procedure_events import GLOBAL_SUBSCRIPTION, Content, EventType, content_of, events_of


class Announcing:
    """Follows the jobs of one node."""

    def __init__(self, catalog: Catalog, now: Callable[[], datetime]) -> None:
        self._catalog = catalog
        self._now = now
        self._begun = False

    def step(self) -> bool:
        """Look once. True when something was announced."""
        if not self._begun:
            self._say_that_we_are_back()
        with self._catalog.reading() as session:
            quiet = not workitems.waiting_studies(session) and not workitems.changed_steps(session)
        if quiet:
            return False
        with self._catalog.writing() as session:
            for study_id in workitems.waiting_studies(session):
                workitems.await_reading(session, study_id, self._now())
            for item in workitems.changed_steps(session):
                _announce(session, item, self._now())
        return True

    def _say_that_we_are_back(self) -> None:
        """Subscriptions and steps are as they were (WARM START)."""
        with self._catalog.reading() as session:
            anybody = workitems.global_subscribers(session)
        if anybody:
            with self._catalog.writing() as session:
                for to in workitems.global_subscribers(session):
                    event, content = EventType.SCP_STATUS_CHANGE, {"status": "RESTARTED"}
                    workitems.enqueue(session, to.ae_title, GLOBAL_SUBSCRIPTION, event, content, self._now())
        self._begun = True


def _announce(session: Session, item: Item, now: datetime) -> None:
    is_new = not item.recorded.text
    if is_new:
        for to in workitems.global_subscribers(session):
            if is_for(to, item.step):
                workitems.subscribe(session, to.ae_title, item.row_id, lock=to.deletion_lock, now=now)
    if workitems.record(session, item.row_id, item.step.standing, now):
        events = events_of(None if is_new else item.recorded, item.step.standing)
        tell_all(session, item, events, content_of(item.step.standing), now)


def tell_all(session: Session, item: Item, events: Sequence[EventType], content: Content, now: datetime) -> None:
    """Queue events of a step for everybody who subscribed to it."""
    for ae_title in workitems.subscribers(session, item.row_id):
        for event in events:
            workitems.enqueue(session, ae_title, item.step.uid, event, content, now)


def is_for(to: Subscriber, step: Step) -> bool:
    """Whether a global subscription is to a step: by its keys, if it has any."""
    return not to.filter or keys.selects(Dataset.from_json(dict(to.filter)), dataset_of(step, ""))
