"""Jobs as Unified Procedure Steps: read as steps, followed as they change, and who is told."""

from node.catalog.workitems.rows import await_reading, follow, of_uid, order, record, set_given, waiting_studies
from node.catalog.workitems.steps import Item, changed_steps, find, open_items, step
from node.catalog.workitems.subscriptions import (
    Subscriber,
    global_subscribers,
    subscribe,
    subscribe_to_all,
    subscribers,
    suspend,
    unsubscribe,
    unsubscribe_from_all,
)
from node.catalog.workitems.telling import enqueue, forget, forget_the_old, postpone, to_tell

__all__ = [
    "Item",
    "Subscriber",
    "await_reading",
    "changed_steps",
    "enqueue",
    "find",
    "follow",
    "forget",
    "forget_the_old",
    "global_subscribers",
    "of_uid",
    "open_items",
    "order",
    "postpone",
    "record",
    "set_given",
    "step",
    "subscribe",
    "subscribe_to_all",
    "subscribers",
    "suspend",
    "to_tell",
    "unsubscribe",
    "unsubscribe_from_all",
    "waiting_studies",
]
