"""A disk that is full or read-only: senders are refused by name, nothing is half written, nothing acknowledged is lost,
and all goes on when there is room again."""

import json
import shutil
import subprocess
from contextlib import suppress
from pathlib import Path

from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node.catalog import tables
from tests.faults.disks import Disk, small_disk
from tests.flow import Flow
from tests.odd.vitals import receivers
from tests.odd.ways import ECHO, echo
from tests.received import kept
from tests.sender import Payload, Scanner, payload_of, send
from tests.servers import HASTY, Nodus, Postgres, eventually, nodus
from tests.studies import Series

NO_MARK = {"minimum_free_gib": 0, "minimum_free_fraction": 0}
"""No water mark: the disk itself says when it is full."""


def large(name: str, number: int = 0, kib: int = 256) -> Payload:
    """A CT image whose pixels need some room."""
    (image,) = Series(name).datasets([number])
    image.Rows, image.Columns = kib, 512
    image.PixelData = bytes(kib * 1024)
    return payload_of(image)


def statuses(node: Nodus, payloads: list[Payload]) -> set[int]:
    return {answer.status for answer in send(node.dicom_port, payloads)}


def known(node: Nodus) -> set[str]:
    return {row["sop_instance_uid"] for row in Flow(node.catalog).rows(tables.instance)}


def check_all_is_well(node: Nodus, acknowledged: list[Payload]) -> None:
    eventually(lambda: {each.sop_instance_uid for each in acknowledged} <= known(node), 60, "all is registered")
    assert [each.sop_instance_uid for each in acknowledged if each.data_set not in kept(node, each)] == []
    eventually(lambda: node.web("/readyz").status == 200, 60, "it is ready")
    assert node.json("audit", "verify")["problems"] == []


def test_a_full_spool_refuses_with_a700_and_takes_again_when_there_is_room(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    """The database is elsewhere. Refused with A700 and audited; the association and others go on; no file is left in
    incoming; what was acknowledged before stays; once space is free, all is taken, without a restart."""
    before, during, after = large("before"), large("during"), large("after")
    with (
        postgres_server.database() as url,
        small_disk(tmp_path / "disk", 32) as disk,
        nodus(disk.folder / "data", database_url=url, senders=HASTY, **NO_MARK) as node,
    ):
        assert statuses(node, [before]) == {0}
        own = receivers(node)
        disk.leave(100_000)
        one = Scanner(node.dicom_port, [(CTImageStorage, ExplicitVRLittleEndian), ECHO])
        answer = one.store(during)
        assert (answer.status, answer.comment) == (0xA700, "The spool cannot be written (ENOSPC).")
        echo(one)
        assert list((node.data / "spool" / "incoming").iterdir()) == []
        disk.fill()
        assert one.store(during).status == 0xA700
        disk.free()
        assert one.store(during).status == 0
        one.release()
        assert statuses(node, [after]) == {0}
        check_all_is_well(node, [before, during, after])
        refused = [json.loads(entry.detail) for entry in node.audit("instance refused")]
        assert {each["status"] for each in refused} == {"0xA700"}
        assert receivers(node) == own


def test_the_water_mark_refuses_before_the_disk_is_full(tmp_path: Path, postgres_server: Postgres) -> None:
    """Below the mark every instance is refused with A700, above it taken; the disk still has room for the rest."""
    payload = large("mark")
    with (
        postgres_server.database() as url,
        small_disk(tmp_path / "disk", 32) as disk,
        nodus(disk.folder / "data", database_url=url, minimum_free_gib=0, minimum_free_fraction=0.5) as node,
    ):
        disk.leave(12 << 20)
        (answer,) = send(node.dicom_port, [payload])
        assert answer.status == 0xA700
        assert "free" in answer.comment
        disk.free()
        assert statuses(node, [payload]) == {0}
        check_all_is_well(node, [payload])


def test_a_database_on_a_full_disk_stops_nothing_but_itself(tmp_path: Path) -> None:
    """SQLite's disk is full, the spool's is not: instances are acknowledged, /readyz says which parts fail, and once
    there is room everything is registered and the audit chain holds."""
    series = Series("full", count=40)
    with small_disk(tmp_path / "disk", 16) as disk:
        data = tmp_path / "data"
        url = f"sqlite:///{disk.folder / 'nodus.db'}"
        with nodus(data, database_url=url, senders=HASTY, **NO_MARK) as node:
            disk.fill()
            payloads = series.payloads()
            assert statuses(node, payloads) == {0}
            page = eventually(lambda: (got := node.web("/readyz")).status == 503 and got, 30, "it is not ready")
            assert "failed" in json.loads(page.body)["register"]
            assert node.web("/healthz").status == 200
            disk.free()
            check_all_is_well(node, payloads)
            assert "Traceback" not in node.log()


def test_a_read_only_spool_refuses_by_name_and_takes_again_when_it_is_writable(
    tmp_path: Path, postgres_server: Postgres
) -> None:
    """As after an error of the file system. A700 says so; what is there stays; all goes on after the remount."""
    before, during = large("before ro"), large("during ro")
    with (
        postgres_server.database() as url,
        small_disk(tmp_path / "data" / "spool", 32) as disk,
        small_disk(tmp_path / "data" / "spool" / "journal", 4),  # always open for writing
        nodus(tmp_path / "data", database_url=url, senders=HASTY, **NO_MARK) as node,
    ):
        assert statuses(node, [before]) == {0}
        check_all_is_well(node, [before])
        eventually(lambda: _became_read_only(disk), what="nothing is open for writing")
        (answer,) = send(node.dicom_port, [during])
        assert (answer.status, answer.comment) == (0xA700, "The spool cannot be written (EROFS).")
        disk.read_only(False)
        assert statuses(node, [during]) == {0}
        check_all_is_well(node, [before, during])


def _became_read_only(disk: Disk) -> bool:
    with suppress(subprocess.CalledProcessError):
        disk.read_only()
        return True
    return False


def test_a_node_on_a_full_disk_says_so_in_one_sentence_and_starts_when_there_is_room(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        disk.fill()
        elsewhere = Nodus(disk.folder / "data", {})
        said = elsewhere.command("up", "--port", "0", "--web-port", "0", code=1)
        assert said.startswith("nodus: ")
        assert said.count("\n") == 1
        shutil.rmtree(elsewhere.data, ignore_errors=True)
