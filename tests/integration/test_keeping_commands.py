"""`nodus retain`, `purge`, `backup` and `restore` as an operator types them, and a node that removes by itself."""

import json
from pathlib import Path

import pytest
from pydicom.uid import MRImageStorage
from sqlalchemy import update

from node.catalog import tables
from node.catalog.session import Catalog
from node.directory import keeping_files
from node.spool import Spool, changed_at
from tests.conftest import Typed
from tests.keeping import IMAGES, Keeping
from tests.received import images, registered
from tests.sender import send
from tests.servers import HASTY, eventually, nodus
from tests.studies import Series

UID = Series("1").study_uid


@pytest.fixture
def left(data: Path, spool: Spool, left_catalog: Catalog) -> Keeping:
    """What a node left: one study, read and delivered."""
    with left_catalog.writing() as session:
        session.execute(tables.installation.insert().values(id=1, serial="S1"))
    keeping = Keeping.on(left_catalog, spool, data)
    keeping.finished("1")
    newest = max(changed_at(spool.absolute(path)) for path in spool.files())
    eventually(lambda: spool.time() > newest, what="no file is as young as a removal")
    return keeping


def test_retain_says_what_would_go_and_then_removes_it(
    left: Keeping, typed: Typed, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = str(left.data)
    assert typed("retain", "--data", data) == (
        0,
        "study instance uid  why  last received at  mib\nNothing is to be removed.\n",
    )
    monkeypatch.setenv("NODUS_RETENTION_DAYS", "0.00001")
    code, said = typed("retain", "--dry-run", "--data", data)
    assert (code, UID in said, "They would be removed." in said, left.images()) == (0, True, True, IMAGES)
    code, said = typed("retain", "--data", data, "--json")
    assert [row["study_instance_uid"] for row in json.loads(said)] == [UID]
    assert left.images() == 0
    (shown,) = json.loads(typed("studies", "--data", data, "--json")[1])
    assert shown["purged_at"]


def test_purge_removes_one_study_and_says_so(left: Keeping, typed: Typed) -> None:
    assert typed("purge", UID, "--data", str(left.data)) == (0, f"{IMAGES} images and 3 results were removed.\n")
    (entry,) = left.flow.audit("study purged")
    assert (entry.actor, json.loads(entry.detail)["why"]) == ("operator", "operator")
    assert left.images() == 0


@pytest.mark.parametrize(
    ("table", "values", "why", "decidable"),
    [
        ("study", {"state": "receiving"}, "it is still being received", False),
        ("study", {"outcome": ""}, "it has no outcome yet", False),
        ("job", {"state": "running"}, "a job of it waits or runs", False),
        ("outbox", {"state": "due"}, "a result of it is still to be delivered", False),
        ("outbox", {"state": "refused"}, "a destination refused a result of it", True),
        ("job", {"state": "dead"}, "a job of it is dead", True),
        ("study", {"conflicts": 1}, "images of it came twice with different content", True),
    ],
)
def test_what_must_not_go_is_refused_in_a_sentence(
    left: Keeping, typed: Typed, table: str, values: dict[str, object], why: str, decidable: bool
) -> None:
    with left.flow.catalog.writing() as session:
        session.execute(update(tables.metadata.tables[table]).values(**values))
    assert typed("purge", UID, "--data", str(left.data)) == (1, f"nodus: The files of this study stay: {why}.\n")
    assert left.images() == IMAGES
    assert typed("purge", UID, "--decided", "--data", str(left.data))[0] == (0 if decidable else 1)
    assert left.images() == (0 if decidable else IMAGES)


def test_a_study_that_is_not_there_and_a_backup_that_is_being_made_are_sentences(left: Keeping, typed: Typed) -> None:
    data = str(left.data)
    assert typed("purge", "1.2.3", "--data", data) == (1, "nodus: There is no such study.\n")
    busy = "nodus: A backup or another removal is under way; try again when it is done.\n"
    with keeping_files(left.data):
        assert typed("purge", UID, "--data", data) == (1, busy)
        assert typed("retain", "--data", data) == (1, busy)


def test_backup_and_restore_as_they_are_typed(left: Keeping, typed: Typed, tmp_path: Path) -> None:
    kept, again = str(tmp_path / "kept"), str(tmp_path / "again")
    code, said = typed("backup", kept, "--data", str(left.data))
    in_a_line = " ".join(said.split())  # a long path is wrapped
    assert (code, in_a_line.startswith(f"{IMAGES + 6} files are in {kept}.")) == (0, True)
    (entry,) = left.flow.audit("backup made")
    assert json.loads(entry.detail)["files"] == IMAGES + 6
    assert typed("backup", "verify", kept)[0] == 0
    code, said = typed("restore", kept, "--data", again)
    assert (code, "`nodus up` starts it" in " ".join(said.split())) == (0, True)
    assert (tmp_path / "again" / "installation").read_text() == "S1\n"
    assert typed("audit", "verify", "--data", again)[0] == 0
    assert typed("restore", kept, "--data", again)[1].startswith(f"nodus: {again} is not empty;")
    nothing = "holds no complete backup: it has no manifest.json, which is written last.\n"
    assert typed("restore", str(tmp_path), "--data", f"{again}2") == (1, f"nodus: {tmp_path} {nothing}")


def test_marks_that_would_stop_reception_first_are_refused(typed: Typed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODUS_MINIMUM_FREE_FRACTION", "0.1")
    monkeypatch.setenv("NODUS_PURGE_BELOW_FREE_FRACTION", "0.1")
    code, said = typed("status")
    assert code == 1
    assert "purge_below_free_fraction must lie above minimum_free_fraction (0.1), or reception stops before" in said


def test_a_node_removes_finished_studies_by_itself_and_still_knows_them(tmp_path: Path) -> None:
    head = Series("head", count=3).having(SOPClassUID=MRImageStorage, Modality="MR")  # nobody waits for a reading
    with nodus(tmp_path / "data", senders=HASTY, retention_days=1e-6) as node:
        send(node.dicom_port, head.payloads())
        registered(node, head, 3)
        eventually(lambda: node.json("studies")[0]["outcome"] == "not analysed", what="the study has ended")
        node.stop()
        node.start()
        spool = node.data / "spool" / "instances"
        eventually(lambda: not list(spool.rglob("*.dcm")), what="its files are gone")
        assert images(node, head.study_uid) == 3
        assert [json.loads(entry.detail)["images"] for entry in node.audit("study purged")] == [3]
        send(node.dicom_port, head.payloads())
        eventually(lambda: len(list(spool.rglob("*.dcm"))) == 3, what="they are kept again")
        assert node.json("audit", "verify")["problems"] == []
