"""What a C-FIND asks SQL is looked up by an index, on both databases, whatever the size of the catalog."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, text

from node.catalog.session import Catalog
from node.domain.query import Query, QueryLevel
from node.flow.answer import Answers

COUNTED = {"NumberOfStudyRelatedInstances": "", "ModalitiesInStudy": "", "NumberOfStudyRelatedSeries": ""}
TABLES = ("patient", "study", "series", "instance", "job", "result", "outbox")


def statements(catalog: Catalog, query: Query) -> list[tuple[str, Any]]:
    """Every SELECT that a query leads to, and its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.lstrip().startswith("SELECT"):
            seen.append((statement, parameters))

    event.listen(catalog.engine, "before_cursor_execute", note)
    try:
        assert list(Answers(catalog, Path).find(query)) == []
    finally:
        event.remove(catalog.engine, "before_cursor_execute", note)
    return seen


def read_whole(catalog: Catalog, statement: str, parameters: Any) -> list[str]:
    """Tables that the plan of a statement reads from end to end."""
    is_sqlite = catalog.engine.dialect.name == "sqlite"
    with catalog.engine.connect() as connection:
        if not is_sqlite:
            connection.execute(text("SET LOCAL enable_seqscan = off"))  # of a table without rows nothing is cheaper
        explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "
        plan = [str(row[-1]) for row in connection.exec_driver_sql(explain + statement, parameters)]
        connection.rollback()
    marks = [f"SCAN {table}" if is_sqlite else f"Seq Scan on {table}" for table in TABLES]
    return [line for line in plan if any(f"{mark} " in f"{line} " for mark in marks)]


@pytest.mark.parametrize(
    "query",
    [
        Query(QueryLevel.STUDY, {"PatientID": "P1", **COUNTED}),
        Query(QueryLevel.STUDY, {"PatientID": "P1*"}),
        Query(QueryLevel.STUDY, {"PatientName": "MULLER^J*"}),
        Query(QueryLevel.STUDY, {"PatientName": "=山田*"} | {"AccessionNumber": "A1"}),
        Query(QueryLevel.STUDY, {"AccessionNumber": "A1"}),
        Query(QueryLevel.STUDY, {"AccessionNumber": "A1?"}),
        Query(QueryLevel.STUDY, {"StudyDate": "20240101-20240131", "ModalitiesInStudy": "CT"}),
        Query(QueryLevel.STUDY, {"StudyDate": "20240101"}),
        Query(QueryLevel.STUDY, {"StudyInstanceUID": "1.2\\1.3"}),
        Query(QueryLevel.STUDY, {}, {"JobState": "DEAD"}),
        Query(QueryLevel.PATIENT, {"PatientID": "P1"}),
        Query(QueryLevel.SERIES, {"StudyInstanceUID": "1.2", "SeriesInstanceUID": ""}),
        Query(QueryLevel.IMAGE, {"StudyInstanceUID": "1.2", "SeriesInstanceUID": "1.3", "SOPInstanceUID": ""}),
    ],
    ids=lambda query: f"{query.level} {' '.join(query.keys)}",
)
def test_no_table_is_read_from_end_to_end(catalog: Catalog, query: Query) -> None:
    asked = statements(catalog, query)
    assert asked
    assert [line for each in asked for line in read_whole(catalog, *each)] == []
