"""What peers asked for, to the audit trail: who, what it was, how much of it went, and where to."""

from collections import defaultdict

from sqlalchemy.orm import Session

from node.catalog import audit
from node.domain.audit import Detail, Event, EventKind, EventOutcome
from node.domain.reception import QueryAnswered, Retrieved
from node.domain.retrieval import Ended


def asked(session: Session, event: QueryAnswered | Retrieved) -> None:
    """Write down a query, which names no study, or a retrieval."""
    if isinstance(event, Retrieved):
        _retrieved(session, event)
        return
    detail: Detail = {"level": event.level, "answers": event.answers, "status": f"0x{event.status:04X}"}
    who = (event.calling_ae_title, event.address)
    audit.append(session, Event(EventKind.QUERY_ANSWERED, _outcome(event), *who, detail=detail, at=event.at))


def _retrieved(session: Session, event: Retrieved) -> None:
    """One row for each study that anything was sent of, or was to be; one without a study where there was none."""
    studies: dict[str, dict[str, int]] = defaultdict(dict)
    for study, how, number in event.ended:
        studies[study][how] = number
    for study, counts in (studies or {"": {}}).items():
        detail: Detail = {
            "service": event.service,
            "level": event.level,
            "destination": event.destination or event.calling_ae_title,
            "asked": event.instances,
            **{str(how): counts.get(how, 0) for how in Ended},
            "status": f"0x{event.status:04X}",
        }
        who = (event.calling_ae_title, event.address, study)
        audit.append(session, Event(EventKind.IMAGES_RETRIEVED, _outcome(event), *who, detail=detail, at=event.at))


def _outcome(event: QueryAnswered | Retrieved) -> EventOutcome:
    return EventOutcome.MINOR_FAILURE if event.status else EventOutcome.SUCCESS
