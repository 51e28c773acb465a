"""What must hold when everything has come to its end. Each check returns one sentence for each thing that is wrong."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import select

from node.catalog import tables
from node.domain.study import Completeness, VersionKind
from tests.endurance.arrivals import what_came
from tests.endurance.logs import troubles
from tests.endurance.modalities import Ledger
from tests.endurance.programs import command_line, working_on
from tests.endurance.site import Site
from tests.received import data_set_of
from tests.servers import eventually

GONE_WITHIN_S = 30.0


def everything_received_is_kept(site: Site, ledger: Ledger) -> Iterator[str]:
    """Each acknowledged instance has its one authoritative row and the bytes that were sent."""
    columns = [tables.instance.c[name] for name in ("sop_instance_uid", "path", "version")]
    rows = defaultdict(list)
    with site.node.catalog.reading() as session:
        for uid, path, version in session.execute(select(*columns)):
            rows[uid].append((path, version))
    for uid, digest in ledger.acknowledged.items():
        first = [path for path, version in rows[uid] if version == VersionKind.AUTHORITATIVE]
        if len(first) != 1 or len(rows[uid]) != 1:
            yield f"{uid} was acknowledged and has rows {rows[uid]}"
        elif (found := _digest(site.node.data / first[0])) != digest:
            yield f"{uid} was acknowledged and its file is another: {found}"
    if surplus := rows.keys() - {each.sop_instance_uid for exam in ledger.exams.values() for each in exam.payloads}:
        yield f"{len(surplus)} instances are in the catalog that nobody sent"


def _digest(path: Path) -> str:
    return hashlib.sha256(data_set_of(path)).hexdigest() if path.exists() else "none"


def every_study_has_one_outcome(site: Site, ledger: Ledger) -> Iterator[str]:
    """One row a study; it is complete, and how it ended is said."""
    with site.node.catalog.reading() as session:
        rows = list(session.execute(select(tables.study)).mappings())
    if {row["study_instance_uid"] for row in rows} != ledger.exams.keys():
        yield f"{len(ledger.exams)} studies were sent and {len(rows)} are in the catalog"
    for row in rows:
        uid, exam = row["study_instance_uid"], ledger.exams.get(row["study_instance_uid"])
        if row["state"] != Completeness.COMPLETE or row["outcome"] not in (exam.outcomes if exam else ()):
            yield f"study {uid} is {row['state']} with outcome {row['outcome'] or 'none'}: {row['reasons']}"
        if row["conflicts"]:
            yield f"study {uid} has {row['conflicts']} conflicts"


def every_destination_has_its_results_once(site: Site, ledger: Ledger) -> Iterator[str]:
    """One instance of each kind that is due, or none; sent twice only as the same bytes."""
    for ae_title in site.pacs:
        came = what_came(site.received(ae_title))
        if unknown := came.keys() - ledger.exams.keys():
            yield f"{ae_title} has results of {len(unknown)} studies that nobody sent"
        for exam in ledger.exams.values():
            got = came[exam.study_uid]
            counts = {kind: len(uids) for kind, uids in got.uids.items()}
            if counts != dict.fromkeys(exam.results, 1):
                yield f"{ae_title} has {counts} of study {exam.study_uid}, not one each of {sorted(exam.results)}"
            if any(len(versions) > 1 for versions in got.contents.values()):
                yield f"{ae_title} got different bytes under one UID in study {exam.study_uid}"


def nothing_is_left_over(site: Site, ledger: Ledger) -> Iterator[str]:
    """No half-written file in the spool, no message in the broker."""
    if left := list((site.node.data / "spool" / "incoming").iterdir()):
        yield f"{len(left)} files are left in spool/incoming"
    if messages := site.messages():
        yield f"{messages} messages are left in the broker"


def the_audit_chain_verifies(site: Site, ledger: Ledger) -> Iterator[str]:
    """As an operator checks it."""
    try:
        site.node.command("audit", "verify")
    except AssertionError as error:
        yield f"the audit chain does not verify: {str(error)[:1000]}"


def the_logs_tell_of_absence_only(site: Site, ledger: Ledger) -> Iterator[str]:
    """Neighbours were away; nothing else went wrong."""
    for what, times in troubles(site.logs()).items():
        yield f"the logs say {times} times: {what}"


def nobody_is_left_behind(site: Site) -> Iterator[str]:
    """After the end no process of a killed parent works on."""
    try:
        eventually(lambda: not working_on(site.node.data), GONE_WITHIN_S)
    except AssertionError:
        for pid in working_on(site.node.data):
            yield f"process {pid} is left behind: {command_line(pid)}"


CHECKS = (
    everything_received_is_kept,
    every_study_has_one_outcome,
    every_destination_has_its_results_once,
    nothing_is_left_over,
    the_audit_chain_verifies,
    the_logs_tell_of_absence_only,
)


def wrongs(site: Site, ledger: Ledger) -> list[str]:
    """Everything that is wrong."""
    return [wrong for check in CHECKS for wrong in check(site, ledger)]
