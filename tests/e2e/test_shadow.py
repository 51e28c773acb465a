"""A node, a PACS, a worker and a model in shadow, as processes: the PACS gets one report and one segmentation a study,
those of the model in use, whatever becomes of the other."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset, dcmread

from node.catalog import tables
from tests import shadowed
from tests.brought import write_onnx
from tests.commanded import commanded, ends, rows, worker
from tests.peers import require_library
from tests.sender import send
from tests.servers import HASTY, Nodus, StoreScp, eventually, nodus, storescp

LEASE_S = 4
READ_WITHIN_S = 240.0
SWEPT_WITHIN_S = 150.0
OBEYS = "shadow-kill shadow-late-kill shadow-hold"


@dataclass(frozen=True)
class Site:
    """A node that delivers to a PACS, and reads in shadow with a model of others."""

    node: Nodus
    pacs: StoreScp
    folder: Path

    @contextmanager
    def worker(self) -> Iterator[Any]:
        """One that obeys."""
        once, hold = (str(self.folder / name) for name in ("once", "hold"))
        with worker(self.node, obeys=OBEYS, AT_WILL_ONCE=once, AT_WILL_HOLDS=hold) as process:
            yield process

    def shadow(self) -> dict[str, Any]:
        """The job in shadow, once there is one."""
        return next((row for row in rows(self.node, tables.job) if row["pipeline"] == "shadow:peak"), {})

    def becomes(self, state: str) -> dict[str, Any]:
        """The same, when it has come to a state."""
        reached = lambda: (job := self.shadow()) and job["state"] == state and job  # noqa: E731
        return eventually(reached, READ_WITHIN_S, f"the shadow job is {state}") or {}

    def got(self) -> list[Dataset]:
        """What the PACS has."""
        return [dcmread(path) for path in self.pacs.files()]


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """A model is in shadow from the start."""
    require_library("onnxruntime", "onnx")
    with storescp(tmp_path / "pacs") as pacs:
        peer = f"PACS@127.0.0.1:{pacs.port}"
        with nodus(tmp_path / "data", "--pacs", peer, senders=HASTY, lease_s=LEASE_S) as node:
            node.command("models", "add", str(write_onnx(tmp_path / "brought")), "--name", "peak")
            node.command("models", "use", "peak", "--shadow")
            yield Site(node, pacs, tmp_path)


@pytest.mark.parametrize("when", ["shadow-kill", "shadow-late-kill"])
def test_a_study_has_one_report_and_one_segmentation_also_when_its_worker_is_killed_in_shadow(
    site: Site, when: str
) -> None:
    (site.folder / "once").touch()
    with site.worker() as process:
        send(site.node.dicom_port, shadowed.payloads(when))
        eventually(lambda: process.poll() is not None, READ_WITHIN_S, "the worker is killed in the shadow reading")
    assert not (site.folder / "once").exists()
    eventually(lambda: len(site.got()) == 2, what="the reading is delivered meanwhile")
    with site.worker():
        assert site.becomes("done")["attempts"] == 2
    in_use_alone(site)
    study = str(site.got()[0].StudyInstanceUID)
    (one,) = site.node.json("models", "compare", study)
    assert (one["found"], one["found_in_shadow"], one["same_place"]) == (2, 1, 1)
    assert site.node.json("studies", study)["comparisons"] == [one]
    assert "peak in shadow" in site.node.command("studies", study)
    assert "rows verified" in site.node.command("audit", "verify")
    assert site.node.json("status")["jobs_in_shadow"] == {"done": 1}


def in_use_alone(site: Site) -> None:
    """One SR and one SEG, of our detector, and nothing else was ever on its way."""
    assert sorted(each.Modality for each in site.got()) == ["SEG", "SR"]
    assert not [each for each in site.got() if "peak" in each.to_json() or "SHADOW" in each.to_json()]
    reading, shadow = rows(site.node, tables.job)
    assert [(row["job_id"], row["state"]) for row in rows(site.node, tables.outbox)] == [
        (reading["id"], "delivered"),
        (reading["id"], "delivered"),
    ]
    assert {row["job_id"] for row in rows(site.node, tables.result)} == {reading["id"], shadow["id"]}
    eventually(lambda: on_disk(site) == named(site), SWEPT_WITHIN_S, "what the killed claim wrote is swept away")


def on_disk(site: Site) -> set[Path]:
    """Every file of a result."""
    return {path.relative_to(site.node.data) for path in (site.node.data / "results").rglob("*.dcm")}


def named(site: Site) -> set[Path]:
    """The same as SQL has it."""
    return {Path(row["path"]) for row in rows(site.node, tables.result)}


def test_a_reading_takes_the_worker_of_a_shadow_reading_that_has_no_end(site: Site) -> None:
    hold, other = site.folder / "hold", commanded("other", "nothing special")
    hold.touch()
    with site.worker():
        send(site.node.dicom_port, shadowed.payloads("shadow-hold"))
        site.becomes("running")
        send(site.node.dicom_port, other.payloads())
        ends(site.node, other, "done")
        assert hold.exists()
        assert "a reading waits" in site.node.audit("job given back")[0].detail
        hold.unlink()
        assert site.becomes("done")["attempts"] == 1
