"""Reading of a CT of 300 slices of 512x512, stage by stage, in float32 and in bfloat16, each in a process of its own.

    python -m tests.bench.reading [--rounds 3]

From files on disk to SR and SEG, encoded, and read again by every rule; what a worker does once, loading the networks,
is not counted. The CT is a phantom. Prints the median of each stage, their sum, and the most memory that the process
ever held.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import click

SLICES, MATRIX, STEP_MM, SEED = 300, 512, 0.9, 7
ARITHMETIC = ("fp32", "bf16")
ENCODE, CHECK = "SR and SEG", "check"


def write_ct(folder: Path) -> None:
    """The middle slices of a phantom."""
    from workers.phantom import Spec, chest
    from workers.phantom.series import write_series

    paths = write_series(chest(Spec(SEED, matrix=MATRIX, step_mm=STEP_MM, thickness_mm=STEP_MM)), folder)
    surplus = len(paths) - SLICES
    assert surplus >= 0, f"the phantom has {len(paths)} slices"
    for path in (*paths[: surplus // 2], *paths[len(paths) - (surplus - surplus // 2) :]):
        path.unlink()


def read_once(images: Path, arithmetic: str) -> dict[str, float]:
    """In a process of its own: seconds of each stage, and MiB."""
    from node.domain.delivery import ResultKind
    from node.domain.eligibility import judge
    from node.headers import data_set_digest, read_header
    from workers import classify as second_look
    from workers import detect, pipeline, segment
    from workers.authorship import Author
    from workers.results import broken_rules, encode

    for stage in (detect, second_look, segment):
        stage.fast_bf16 = lambda device: arithmetic == "bf16"  # type: ignore[attr-defined]
    paths = sorted(images.iterdir())
    headers = [read_header(path) for path in paths]
    digests = {header.sop_instance_uid: data_set_digest(path) for header, path in zip(headers, paths, strict=True)}
    pipeline.prepare()
    reading = pipeline.read(paths, judge(headers))
    begun = time.perf_counter()
    request = Author("NODUS", "bench", datetime(2026, 1, 1, tzinfo=UTC)).report(reading, digests)
    results = [each for kind in (ResultKind.SR, ResultKind.SEG) for each in encode(request, kind)]
    encoded = time.perf_counter()
    for each in results:
        broken_rules(each, request, results[0] if each is not results[0] else None)
    seconds = {**reading.timings_s, ENCODE: encoded - begun, CHECK: time.perf_counter() - encoded}
    return {**seconds, "MiB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


@click.command(help=__doc__)
@click.option("--rounds", default=3, show_default=True)
@click.option("--one", nargs=2, hidden=True, type=str)
def main(rounds: int, one: tuple[str, str] | None) -> None:
    """Compare."""
    if one:
        click.echo(json.dumps(read_once(Path(one[0]), one[1])))
        return
    measured: dict[str, list[dict[str, float]]] = {arithmetic: [] for arithmetic in ARITHMETIC}
    with tempfile.TemporaryDirectory() as folder:
        write_ct(Path(folder))
        for _ in range(rounds):
            for arithmetic, rows in measured.items():
                order = [sys.executable, "-m", "tests.bench.reading", "--one", f"{folder}/dicom", arithmetic]
                rows.append(json.loads(subprocess.run(order, capture_output=True, check=True, text=True).stdout))
    show({arithmetic: _median(rows) for arithmetic, rows in measured.items()})


def _median(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: statistics.median(row[name] for row in rows) for name in rows[0]}


def show(medians: dict[str, dict[str, float]]) -> None:
    """One line a stage."""
    first, second = (medians[name] for name in ARITHMETIC)
    stages = [name for name in first if name != "MiB"]
    rows = [*((name, first[name], second[name]) for name in stages)]
    rows.append(("together", sum(first[name] for name in stages), sum(second[name] for name in stages)))
    click.echo(f"{'stage':14}{'fp32 s':>9}{'bf16 s':>9}{'ratio':>8}")
    for name, one, other in rows:
        click.echo(f"{name:14}{one:9.2f}{other:9.2f}{other / max(one, 1e-9):8.2f}")
    click.echo(f"{'most memory':14}{first['MiB']:8.0f}M{second['MiB']:8.0f}M")


if __name__ == "__main__":
    main()
