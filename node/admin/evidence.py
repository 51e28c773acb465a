"""Why a study and its series count as complete, or what they still wait for, in plain sentences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from node.catalog import announcements, peers, studies
from node.domain.announcement import NOBODY_TOLD, Announcement, Count, Tally, count_of_study, counts_of
from node.domain.completeness import Evidence, Grounds, patience_of, waits_for, waits_for_rest
from node.domain.peers import Sender
from node.domain.study import Completeness
from node.flow.complete import NOT_GAPLESS
from node.flow.evidence import gap_of


def explained(session: Session, detail: Mapping[str, Any]) -> dict[str, Any]:
    """What there is to say of a study (`overview.study_detail`), with a sentence for it and for each series: `why`."""
    senders, told = peers.senders(session), announcements.of_study(session, detail["study_instance_uid"])
    counts = counts_of(told)
    gaps = {each["id"]: _gap(session, each) for each in detail["series"]}
    series = [
        {**each, "why": _why(each, Seen(each["images"], gaps[each["id"]], _count(counts, each)), senders)}
        for each in detail["series"]
    ]
    here = {each["series_instance_uid"]: each["images"] for each in series}
    whole = Seen(sum(here.values()), NOT_GAPLESS if any(gaps.values()) else "", count_of_study(counts, here))
    return {**detail, "series": series, "why": _why(detail, whole, senders), "told": [_told(each) for each in told]}


@dataclass(frozen=True)
class Seen:
    """What is here of a series or a study, and what was told of it."""

    images: int
    gap: str
    count: Count


def _count(counts: Mapping[str, Count], series: Mapping[str, Any]) -> Count:
    return counts.get(series["series_instance_uid"], NOBODY_TOLD)


def _told(one: Announcement) -> dict[str, Any]:
    return {
        "teller": one.teller,
        "uid": one.uid,
        "state": one.state,
        "series": dict(one.series),
        "images": sum(one.series.values()),
        "told_at": one.told_at,
    }


def _gap(session: Session, series: Mapping[str, Any]) -> str:
    if series["state"] == Completeness.COMPLETE:
        return "" if series["evidence"] == Evidence.GAPLESS else NOT_GAPLESS
    return gap_of(studies.headers_of_series(session, series["id"]))


def _why(row: Mapping[str, Any], seen: Seen, senders: Sequence[Sender]) -> str:
    if row["state"] == Completeness.RECEIVING:
        patience = patience_of(senders, row["calling_ae_title"], row["address"])
        if seen.count.tally(seen.images) is Tally.SHORT:
            return waits_for_rest(seen.images, seen.count, patience, row["first_received_at"])
        return waits_for(seen.images, seen.gap, patience, row["first_received_at"], row["last_received_at"])
    if not row["evidence_detail"]:  # an earlier version of Nodus closed it, or it holds nothing but our own results
        return f"Complete: {row['evidence'] or 'nothing more is expected'}."
    return Grounds(**row["evidence_detail"]).because(Evidence(row["evidence"]))
