"""A worker makes the results that some destination asks for, and no others; on both databases."""

from pathlib import Path

from pydicom import dcmread

from node.catalog import tables
from node.catalog.session import Catalog
from node.domain.peers import Destination
from node.spool import Spool
from tests.flow import Flow, to_be_read
from tests.studies import Series
from workers import tasks
from workers.workplace import Workplace


def kinds(flow: Flow) -> set[str]:
    return {row["kind"] for row in flow.rows(tables.result)}


def test_a_page_says_that_a_study_was_not_analysed_to_who_asks_for_one(
    catalog: Catalog, spool: Spool, workplace: Workplace, data: Path
) -> None:
    flow = to_be_read(catalog, spool, Series().payloads())
    flow.destination(
        Destination("PACS", "127.0.0.1", 104, ("SR", "KOS", "GSPS", "PDF", "SC")),
        Destination("QUIET", "127.0.0.1", 105, ("SR", "PDF"), not_analysed=False),
    )
    tasks.perform(workplace, 1)
    assert sorted(flow.outbox()) == [(1, "PDF", "held"), (1, "SR", "held")]
    (row,) = flow.rows(tables.result, kind="PDF")
    page = dcmread(data / row["path"])
    assert "NOT ANALYSED" in page.SeriesDescription
    assert row["refers_to"] == []


def test_what_no_destination_asks_for_is_not_made(catalog: Catalog, spool: Spool, workplace: Workplace) -> None:
    flow = to_be_read(catalog, spool, Series().payloads())
    tasks.perform(workplace, 1)
    assert kinds(flow) == {"SR"}
