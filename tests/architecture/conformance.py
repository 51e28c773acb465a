"""The presentation contexts of the conformance statement, made from those that the node negotiates:
`python -m tests.architecture.conformance` writes them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydicom.uid import UID, CTImageStorage, JPEGLosslessSV1
from pynetdicom.presentation import PresentationContext

from node.dicom import contexts

STATEMENT = Path(__file__).parents[2] / "deploy" / "CONFORMANCE.md"
BEGIN = "<!-- presentation contexts: `python -m tests.architecture.conformance` -->"
END = "<!-- end of presentation contexts -->"
SCP, BOTH = "SCP", "SCP; SCU by role selection"
UNCOMPRESSED, ALL = "uncompressed", "all"
PROPOSED = {
    "results, to a destination": contexts.offered_results(),
    "`nodus destinations echo`, where it gets no results": contexts.offered_echo(),
    "forwarding, for each kind of image, as here": contexts.offered_images([(CTImageStorage, JPEGLosslessSV1)]),
    '`commitment = "commitment"`': contexts.offered_questions(commitment=True),
    '`commitment = "find"`, `count_at`': contexts.offered_questions(commitment=False),
    "`[archive]`": contexts.offered_retrieval(),
    "`[[subscribers]]`": [contexts.offered_events()],
    "`commitment_port`": [contexts.offered_commitment()],
}
"""What associations are for that we open; those of C-MOVE propose what is stored, as forwarding does."""


def table(head: str, rows: Iterable[Sequence[object]]) -> str:
    """A table of Markdown."""
    columns = head.split(" | ")
    lines = [f"| {' | '.join(map(str, line))} |" for line in (columns, *rows)]
    return "\n".join([lines[0], "|---" * len(columns) + "|", *lines[1:]])


def _accepted(each: PresentationContext) -> tuple[object, ...]:
    uid = UID(str(each.abstract_syntax))
    taken = UNCOMPRESSED if tuple(each.transfer_syntax) == contexts.UNCOMPRESSED else ALL
    return uid.name, uid, BOTH if each.scp_role else SCP, taken


def _proposed(why: str, offered: Iterable[PresentationContext]) -> list[tuple[object, ...]]:
    by_class: dict[UID, list[PresentationContext]] = {}
    for each in offered:
        by_class.setdefault(UID(str(each.abstract_syntax)), []).append(each)
    return [
        (why, uid.name, uid, SCP if some[0].scp_role else "SCU", "; ".join(map(_syntaxes, some)))
        for uid, some in by_class.items()
    ]


def _syntaxes(one: PresentationContext) -> str:
    return ", ".join(UID(each).keyword for each in one.transfer_syntax)


def made() -> str:
    """The tables as they have to be."""
    plain = [each for each in contexts.accepted() if each.abstract_syntax not in contexts.storage_sop_classes()]
    storage = [each for each in contexts.accepted() if each not in plain]
    head = "SOP class | UID | our role | transfer syntaxes"
    syntaxes = ((UID(each).name, each, UID(each).keyword) for each in contexts.STORED_SYNTAXES)
    proposed = (row for why, offered in PROPOSED.items() for row in _proposed(why, offered))
    return "\n\n".join([
        BEGIN,
        f"Transfer syntaxes, in the order in which they are preferred; *{UNCOMPRESSED}* are the first two:",
        table("transfer syntax | UID | keyword", syntaxes),
        "Accepted under `ae_title` and each of `[[aes]]`:",
        table(head, map(_accepted, plain)),
        f"<details><summary>...and {len(storage)} storage SOP classes</summary>",
        table(head, map(_accepted, storage)),
        "</details>",
        "Accepted under `worklist_ae_title`:",
        table(head, map(_accepted, contexts.worklist())),
        "Proposed (a semicolon separates presentation contexts, a comma what one of them proposes):",
        table("association for | SOP class | UID | our role | transfer syntaxes", proposed),
        END,
    ])  # fmt: skip


def stated() -> str:
    """The tables as the statement has them; empty where it has none."""
    found = re.search(f"{re.escape(BEGIN)}.*?{re.escape(END)}", STATEMENT.read_text(), re.DOTALL)
    return found[0] if found else ""


def accepted(heading: str) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What the statement says that is accepted under a title: SOP class to our role and transfer syntaxes."""
    syntaxes = tuple(re.findall(r"^\| [^|]+ \| ([\d.]+) \| \w+ \|$", stated(), re.MULTILINE))
    said = {UNCOMPRESSED: syntaxes[:2], ALL: syntaxes}
    part = stated().partition(heading)[2].partition("Accepted under")[0].partition("Proposed")[0]
    rows = re.findall(rf"^\| [^|]+ \| ([\d.]+) \| ([^|]+) \| ({UNCOMPRESSED}|{ALL}) \|$", part, re.MULTILINE)
    return {uid: (role, said[taken]) for uid, role, taken in rows}


if __name__ == "__main__":
    STATEMENT.write_text(STATEMENT.read_text().replace(stated() or BEGIN, made()))
