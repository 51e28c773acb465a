"""Whether the flow behind reception has digested what a node acknowledged."""

from collections.abc import Iterable

from node.catalog import tables
from tests.flow import Flow
from tests.odd.ways import Try, file_of, is_kept
from tests.servers import Nodus, eventually

SETTLED_WITHIN_S = 60.0


def lost(node: Nodus, tries: Iterable[Try]) -> list[str]:
    """What was answered with success and is not on disk as these very bytes."""
    return [each.row for each in tries if each.status == 0 and not is_kept(node, each.odd)]


def await_rows(node: Nodus, tries: Iterable[Try]) -> None:
    """Wait until everything that was answered with success is in the catalog."""
    wanted = {str(file_of(each.odd)) for each in tries if each.status == 0}
    flow = Flow(node.catalog)
    eventually(
        lambda: wanted <= {row["path"] for row in flow.rows(tables.instance)}, SETTLED_WITHIN_S, "all is registered"
    )


def await_verdicts(node: Nodus) -> None:
    """Wait until every study and series is closed, judged, and read, to be read, or not read and why."""
    flow = Flow(node.catalog)

    def are_settled() -> bool:
        with_job = {row["study_id"] for row in flow.jobs()}
        closed = all(row["state"] == "complete" for row in flow.rows(tables.study))
        judged = all(row["eligibility"] for row in flow.rows(tables.series))
        return closed and judged and all(row["outcome"] or row["id"] in with_job for row in flow.rows(tables.study))

    eventually(are_settled, SETTLED_WITHIN_S, "every study is closed and judged")


def check_health(node: Nodus) -> None:
    """No receiver ended, no part of the flow stumbles, nothing unexpected was logged, the audit chain holds."""
    page = node.web("/readyz")
    assert page.status == 200, page.body
    assert "a receiver ended" not in node.log()
    assert [line for line in node.log().splitlines() if "exc_info" in line] == []
    assert node.json("audit", "verify")["problems"] == []
