"""Images that came in several versions: which are there, and what an operator decides."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime

from sqlalchemy.orm import Session

from node.admin.opened import opened, reading
from node.admin.view import View
from node.catalog import audit, studies
from node.domain.audit import Detail, Event, EventKind
from node.domain.instance import InstanceHeader
from node.domain.study import CURRENT, NEWEST, Version, VersionKind, chosen
from node.errors import BadInput, SettingsError, Unavailable
from node.headers import read_header
from node.settings import Settings

DIGEST = re.compile(r"[0-9a-f]{6,64}", re.IGNORECASE)
SHOWN = 12
"""Digits of a digest in the table: enough to tell versions apart, and to name one."""


def conflicts(settings: Settings) -> View:
    """One row a version of each image that waits for a decision. Well: none does."""
    with reading(settings) as session:
        waiting = studies.undecided(session)
    rows = [
        {
            "study_instance_uid": study_uid,
            "sop_instance_uid": uid,
            "version": each.kind,
            "counts": "yes" if each.kind is VersionKind.AUTHORITATIVE else "no",
            "digest": each.digest[:SHOWN],
            "sender": each.calling_ae_title,
            "received_at": each.received_at,
        }
        for study_uid, images in waiting.items()
        for uid, versions in images.items()
        for each in versions
    ]
    columns = ("study_instance_uid", "sop_instance_uid", "version", "counts", "digest", "sender", "received_at")
    return View(rows, columns, rows, well=not rows)


def settle(settings: Settings, study_instance_uid: str, keep: str) -> View:
    """Decide which versions of a study's images count; the study is looked at again, and read where they are others.

    Raises SettingsError for what names no version, Unavailable where nothing waits or a file is gone.
    """
    if keep not in (CURRENT, NEWEST) and not DIGEST.fullmatch(keep):
        raise SettingsError(f"Keep {CURRENT}, {NEWEST}, or the version whose digest begins with six digits or more.")
    with opened(settings) as catalog, catalog.writing() as session:
        studies.lock(session, study_instance_uid)
        waiting = studies.undecided(session, study_instance_uid).get(study_instance_uid)
        if not waiting:
            raise Unavailable("No image of this study waits for a decision.")
        decided = {uid: one for uid, versions in waiting.items() if (one := chosen(versions, keep))}
        if not decided:
            raise SettingsError("Of the images that wait, none has exactly one version of such a digest.")
        headers = _headers(settings, decided.values())
        touched: set[int] = set()
        for uid, one in decided.items():
            touched |= studies.settle(session, one)
            _tell(session, study_instance_uid, one, len(waiting[uid]))
        studies.look_again(session, study_instance_uid, touched, datetime.now(UTC))
        for header in headers:
            studies.follow(session, header)
    left = len(waiting) - len(decided)
    data = {"study_instance_uid": study_instance_uid, "settled": len(decided), "left": left}
    return View(data, note=f"{len(decided)} images are settled, {left} wait.", well=not left)


def _headers(settings: Settings, decided: Iterable[Version]) -> list[InstanceHeader]:
    """Of each series one image that counts from now on: what it says of patient and study is what they are called."""
    others = {one.series_id: one for one in decided if one.kind is not VersionKind.AUTHORITATIVE}
    try:
        return [read_header(settings.data / one.path) for one in others.values()]
    except (OSError, BadInput) as error:
        raise Unavailable("The file of that version is gone or cannot be read; keep another.") from error


def _tell(session: Session, study_instance_uid: str, kept: Version, versions: int) -> None:
    uid, digest = kept.sop_instance_uid, kept.digest
    detail: Detail = {"sop_instance_uid": uid, "kept": digest, "was": str(kept.kind), "of": versions}
    audit.append(
        session,
        Event(EventKind.VERSIONS_SETTLED, actor="operator", study_instance_uid=study_instance_uid, detail=detail),
    )
