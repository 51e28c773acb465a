"""Why a study and its series count as complete, or what they still wait for, in plain sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from node.catalog import peers, studies
from node.domain.completeness import Evidence, Grounds, patience_of, waits_for
from node.domain.peers import Sender
from node.domain.study import Completeness
from node.flow.complete import NOT_GAPLESS
from node.flow.evidence import gap_of


def explained(session: Session, detail: Mapping[str, Any]) -> dict[str, Any]:
    """What there is to say of a study (`overview.study_detail`), with a sentence for it and for each series: `why`."""
    senders = peers.senders(session)
    gaps = {each["id"]: _gap(session, each) for each in detail["series"]}
    series = [{**each, "why": _why(each, each["images"], gaps[each["id"]], senders)} for each in detail["series"]]
    images = sum(each["images"] for each in series)
    why = _why(detail, images, NOT_GAPLESS if any(gaps.values()) else "", senders)
    return {**detail, "series": series, "why": why}


def _gap(session: Session, series: Mapping[str, Any]) -> str:
    if series["state"] == Completeness.COMPLETE:
        return "" if series["evidence"] == Evidence.GAPLESS else NOT_GAPLESS
    return gap_of(studies.headers_of_series(session, series["id"]))


def _why(row: Mapping[str, Any], images: int, gap: str, senders: Sequence[Sender]) -> str:
    if row["state"] == Completeness.RECEIVING:
        patience = patience_of(senders, row["calling_ae_title"], row["address"])
        return waits_for(images, gap, patience, row["first_received_at"], row["last_received_at"])
    if not row["evidence_detail"]:  # an earlier version of Nodus closed it, or it holds nothing but our own results
        return f"Complete: {row['evidence'] or 'nothing more is expected'}."
    return Grounds(**row["evidence_detail"]).because(Evidence(row["evidence"]))
