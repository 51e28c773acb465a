"""flow/sweep.py on both databases: what lost claims left on disk goes, everything else stays."""

import os
from pathlib import Path

import pytest

from node.catalog import jobs, outbox
from node.catalog.session import Catalog
from node.domain.delivery import ResultKind
from node.flow.sweep import LOOK_BACK_S, Sweep, orphans
from tests.flow import Flow, queued, results
from tests.studies import AT


def written(data: Path, job_id: int, token: str) -> Path:
    """A folder as a worker makes it for its claim."""
    folder = data / "results" / str(job_id) / token
    folder.mkdir(parents=True)
    (folder / "SR-0.dcm").write_bytes(b"made up")
    return folder


@pytest.fixture
def flow(catalog: Catalog) -> Flow:
    """Job 1 runs under the token "t", job 2 has saved what lies under "saved", job 3 waits."""
    flow = queued(catalog, studies=3)
    flow.claimed(1)
    flow.claimed(2, token="saved")
    with catalog.writing() as session:
        (result,) = results(2, ResultKind.SEG)
        named = result.__class__(**{**result.__dict__, "path": "results/2/saved/SEG-0.dcm"})
        outbox.keep_results(session, 2, [named])
        jobs.finish(session, 2, "saved", AT)
    return flow


def test_only_what_no_claim_holds_and_no_result_names_is_removed(flow: Flow, data: Path) -> None:
    kept = [written(data, 1, "t"), written(data, 2, "saved"), written(data, 9, "of a job that has no row")]
    lost = [written(data, 1, "older"), written(data, 2, "other"), written(data, 3, "given-back")]
    (data / "results" / "notes.txt").write_text("not ours")
    Sweep(flow.catalog, data / "results").step()
    assert all(folder.exists() for folder in kept)
    assert not any(folder.exists() for folder in lost)
    assert (data / "results" / "notes.txt").exists()


def test_after_the_first_time_only_what_changed_lately_is_looked_at(flow: Flow, data: Path) -> None:
    sweep = Sweep(flow.catalog, data / "results")
    sweep.step()
    old, new = written(data, 3, "old"), written(data, 2, "new")
    long_ago = old.stat().st_mtime - LOOK_BACK_S - 60
    os.utime(old.parent, (long_ago, long_ago))
    sweep.step()
    assert (old.exists(), new.exists()) == (True, False)
    assert list(orphans(flow.catalog, data / "results")) == [old]
