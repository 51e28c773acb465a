"""C-FIND and ingest on a large catalog, on SQLite and PostgreSQL.

    python -m tests.bench.catalog [--instances 1000000] [--rounds 40]

Rows are made by SQL itself: studies of one CT series of 100 images, two for each patient, three a day, with a job each.
Times are from a query until its last match is there, counts and availability included, each query with other keys than
the one before: as `nodus` finds them, without the network. Ingest is what registers files that came, into an empty
catalog and into the large one in turn.
"""

import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import click
from sqlalchemy import text

from node.catalog.session import Catalog
from node.domain.query import Query, QueryLevel
from node.domain.study import Arrival
from node.flow import register
from node.flow.answer import Answers
from node.spool import Spool
from tests.servers import postgres
from tests.studies import Series, arrivals

IMAGES = 100
"""Of a study."""
STUDIES_A_DAY, STUDIES_A_PATIENT = 3, 2
FIRST_DAY = date(2015, 1, 1)
MOST_MS = 50.0
LEAST_RATIO = 0.9
SPECIAL = 60
"""Studies whose reading is dead."""
RETURNED = {
    "PatientName": "",
    "PatientBirthDate": "",
    "PatientSex": "",
    "StudyTime": "",
    "StudyDescription": "",
    "ModalitiesInStudy": "",
    "NumberOfStudyRelatedSeries": "",
    "NumberOfStudyRelatedInstances": "",
}
"""What a workstation asks for."""
TIME = "'2024-01-01 00:00:00.000000'"
HEADER = '{"frames": [], "convolution_kernel": "' + "x" * 700 + '"}'
"""As long as those of CT images are."""
TABLES = {
    "patient": """
        INSERT INTO patient (id, patient_id, issuer_of_patient_id, patient_name, patient_birth_date, patient_sex,
                             identity, name_alphabetic)
        SELECT i, 'P' || i, '', 'Name' || i || '^Given', '19600101', 'O', 'identity' || i, 'name' || i || '^given'
        FROM numbers WHERE i < :studies / 2 + 1""",
    "study": """
        INSERT INTO study (id, patient_id, study_instance_uid, study_date, study_time, accession_number, study_id,
                           study_description, referring_physician_name, state, revision, reasons, conflicts,
                           first_received_at, last_received_at)
        SELECT numbers.i, numbers.i / 2, '1.2.3.' || numbers.i, days.day, '101112', 'A' || numbers.i, '1',
               'CT Thorax', '', 'complete', 1, '[]', 0, {time}, {time}
        FROM numbers JOIN days ON days.i = numbers.i / 3 WHERE numbers.i < :studies""",
    "series": """
        INSERT INTO series (id, study_id, series_instance_uid, modality, series_number, series_description,
                            body_part_examined, state, reasons, score, first_received_at, last_received_at)
        SELECT i, i, '1.2.4.' || i, 'CT', 1, 'Lung', 'CHEST', 'complete', '[]', '[]', {time}, {time}
        FROM numbers WHERE i < :studies""",
    "instance": """
        INSERT INTO instance (series_id, sop_instance_uid, sop_class_uid, transfer_syntax_uid, instance_number, rows,
                              columns, header, path, digest, size, version, received_at)
        SELECT s.id, '1.2.5.' || s.id || '.' || n.i, '1.2.840.10008.5.1.4.1.1.2', '1.2.840.10008.1.2.1', n.i, 512, 512,
               '{header}', 'spool/instances/' || s.id || '-' || n.i || '-{wide}.dcm', '{wide}', 525000, 'authoritative',
               {time}
        FROM series s JOIN numbers n ON n.i < :images""",
    "job": """
        INSERT INTO job (study_id, revision, pipeline, kind, state, priority, turn_at, digest, attempts, created_at,
                         not_before, progress, reasons, failure_text, timings)
        SELECT i, 1, 'lung-nodule', 'analysis', CASE WHEN i < :special THEN 'dead' ELSE 'done' END, 0, {time}, '',
               1, {time}, {time}, 100, '[]', '', '{{}}'
        FROM numbers WHERE i < :studies""",
}


def fill(catalog: Catalog, instances: int) -> int:
    """Make the rows; returns how many studies they are."""
    studies = instances // IMAGES
    values = {"studies": studies, "images": IMAGES, "special": SPECIAL}
    words = {"time": TIME, "header": HEADER.replace(":", "\\:"), "wide": "0" * 64}
    with catalog.engine.connect().execution_options(nodus_writes=True) as connection, connection.begin():
        if catalog.engine.dialect.name == "postgresql":
            connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text("CREATE TEMPORARY TABLE numbers (i INTEGER PRIMARY KEY)"))
        connection.execute(text("CREATE TEMPORARY TABLE days (i INTEGER PRIMARY KEY, day TEXT)"))
        connection.execute(text("INSERT INTO numbers VALUES (:i)"), [{"i": i} for i in range(max(studies, IMAGES))])
        days = range(studies // STUDIES_A_DAY + 1)
        connection.execute(text("INSERT INTO days VALUES (:i, :day)"), [{"i": i, "day": day(i)} for i in days])
        for statement in TABLES.values():
            prepared = text(statement.format(**words))
            connection.execute(prepared, {name: values[name] for name in values if f":{name}" in statement})
        if catalog.engine.dialect.name == "postgresql":
            for table in TABLES:
                connection.execute(text(f"SELECT setval('{table}_id_seq', (SELECT max(id) FROM {table}) + 1)"))
    analysed(catalog)
    return studies


def analysed(catalog: Catalog) -> None:
    """PostgreSQL does that by itself after a while; SQLite never does."""
    if catalog.engine.dialect.name == "postgresql":
        with catalog.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("VACUUM ANALYZE"))


def day(number: int) -> str:
    """A DA so many days after the first."""
    return f"{FIRST_DAY + timedelta(days=number):%Y%m%d}"


def queries(studies: int) -> dict[str, Callable[[int], Query]]:
    """Each kind of query, by a number that changes its keys."""

    def query(**keys: str) -> Query:
        return Query(QueryLevel.STUDY, {**RETURNED, **keys})

    def spread(number: int, of: int) -> int:
        return number * 7919 % of

    patients, days = studies // STUDIES_A_PATIENT, studies // STUDIES_A_DAY
    return {
        "patient id": lambda n: query(PatientID=f"P{spread(n, patients)}"),
        "patient id, wild card": lambda n: query(PatientID=f"P{spread(n, patients // 10)}?"),
        "patient name, wild card": lambda n: query(PatientName=f"NAME{spread(n, patients)}^*"),
        "accession number": lambda n: query(AccessionNumber=f"A{spread(n, studies)}"),
        "date range of 30 days": lambda n: query(
            StudyDate=f"{day(spread(n, days - 30))}-{day(spread(n, days - 30) + 30)}"
        ),
        "day and modality": lambda n: query(StudyDate=day(spread(n, days)), ModalitiesInStudy="CT"),
        "state of the reading": lambda n: replace(query(), job_keys={"JobState": "DEAD"}),
        "state and date range": lambda n: replace(
            query(StudyDate=f"{day(0)}-{day(20 + n)}"), job_keys={"JobState": "DEAD"}
        ),
        "images of a series": lambda n: Query(
            QueryLevel.IMAGE,
            {
                "StudyInstanceUID": f"1.2.3.{spread(n, studies)}",
                "SeriesInstanceUID": f"1.2.4.{spread(n, studies)}",
                "SOPInstanceUID": "",
                "InstanceNumber": "",
            },
        ),
    }


def measure(answers: Answers, ask: Callable[[int], Query], rounds: int) -> tuple[float, str]:
    """p95 in ms; and in words, with what the processor took of it in this process, which no neighbour adds to."""
    times, busy, most = [], [], 0
    for number in range(rounds):
        begun, worked = time.perf_counter(), time.process_time()
        most = max(most, sum(row is not None for row in answers.find(ask(number + 1))))
        times.append((time.perf_counter() - begun) * 1e3)
        busy.append((time.process_time() - worked) * 1e3)
    return p95(times), (
        f"up to {most:3} matches: median {statistics.median(times):6.1f} ms, p95 {p95(times):6.1f} ms; "
        f"of it processor here: median {statistics.median(busy):5.1f} ms, p95 {p95(busy):5.1f} ms"
    )


def p95(values: list[float]) -> float:
    """95 of 100 are not more."""
    return statistics.quantiles(values, n=20)[-1]


def new_files(number: int) -> list[Arrival]:
    """Three studies of 100 slices that nobody has."""
    series = [Series(f"bench-{number}-{each}", count=IMAGES) for each in range(3)]
    return arrivals([header for each in series for header in each.headers()])


def ingest_ms(catalog: Catalog, spool: Spool, batch: list[Arrival]) -> float:
    """Milliseconds to register a batch."""
    begun = time.perf_counter()
    register.register(catalog, spool, batch)
    return (time.perf_counter() - begun) * 1e3


@contextmanager
def databases(folder: Path) -> Iterator[dict[str, tuple[str, str]]]:
    """URLs of two databases of each kind: one to stay empty, and one to be filled."""
    folder.chmod(0o755)
    with postgres(folder / "postgres") as server:
        for name in ("empty", "large"):
            server.execute(f"CREATE DATABASE {name}")
        yield {
            "SQLite": (f"sqlite:///{folder}/empty.db", f"sqlite:///{folder}/large.db"),
            "PostgreSQL": (server.url("empty"), server.url("large")),
        }


@click.command()
@click.option("--instances", default=100_000, show_default=True, help="Rows; a million takes a few minutes.")
@click.option("--database", "only", help="SQLite or PostgreSQL; both by default.")
@click.option("--rounds", default=40, show_default=True, help="Queries of each kind, and batches of each catalog / 4.")
@click.option("--folder", type=click.Path(path_type=Path), help="Where to write; a temporary folder by default.")
def main(instances: int, only: str | None, rounds: int, folder: Path | None) -> None:
    """Print p95s and ratios; fails where they are not what they must be."""
    root = Path(tempfile.mkdtemp(prefix="nodus-bench-", dir=folder))
    try:
        with databases(root) as urls:
            asked = {name: pair for name, pair in urls.items() if only in (None, name)}
            missed = [name for name, pair in asked.items() if not report(name, pair, root, (instances, rounds))]
    finally:
        shutil.rmtree(root, ignore_errors=True)
    if missed:
        raise click.ClickException(f"Not fast enough on {', '.join(missed)}.")


def report(name: str, urls: tuple[str, str], root: Path, size: tuple[int, int]) -> bool:
    """One database; whether it is as fast as it must be."""
    instances, rounds = size
    empty, large = (Catalog(url, b"key") for url in urls)
    for catalog in (empty, large):
        catalog.migrate()
    begun = time.perf_counter()
    studies = fill(large, instances)
    click.echo(
        f"{name}: {instances:,} instances of {studies:,} studies, made in {time.perf_counter() - begun:.0f} s; "
        f"load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    found_well = find_well(Answers(large, root.joinpath), queries(studies), rounds)
    entered_well = ingest_well(empty, large, root, rounds)
    empty.close()
    large.close()
    return found_well and entered_well


def find_well(answers: Answers, asked: dict[str, Callable[[int], Query]], rounds: int) -> bool:
    """Whether each kind of query is answered in time."""
    well = True
    for kind, ask in asked.items():
        slowest, said = measure(answers, ask, rounds)
        well &= slowest <= MOST_MS
        click.echo(f"  {kind:24} {said}")
    return well


def ingest_well(empty: Catalog, large: Catalog, root: Path, rounds: int) -> bool:
    """Whether ingest keeps its rate; each round registers the same files into both, in turn."""
    spool, ratios = Spool(root, minimum_free_bytes=0, minimum_free_fraction=0.0), []
    for number in range(max(4, rounds // 4)):
        batch = new_files(number)
        pair = (empty, large) if number % 2 else (large, empty)
        times = {catalog: ingest_ms(catalog, spool, batch) for catalog in pair}
        ratios.append(times[empty] / times[large])
    ratio = statistics.median(ratios)
    click.echo(f"  ingest keeps {ratio:.2f} of the rate on an empty catalog [{min(ratios):.2f}, {max(ratios):.2f}]")
    return ratio >= LEAST_RATIO


if __name__ == "__main__":
    main()
