"""Images through a running node to Orthanc and storescp: whole, once, whoever is killed in the middle."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGBaseline8Bit, RLELossless

from node.catalog import forwards, tables
from tests.flow import Flow
from tests.sender import Payload, payload_of, payload_of_file, send
from tests.servers import (
    HASTY,
    Nodus,
    Orthanc,
    StoreScp,
    answering_pacs,
    eventually,
    free_port,
    nodus,
    orthanc,
    storescp,
)
from tests.studies import Series
from tests.thorough import IS_THOROUGH

IMAGES = 1000 if IS_THOROUGH else 150
WITHIN_S = 240.0
ALL_TO = [{"name": "all", "pipeline": "store", "forward": ["PLAIN", "ORTHANC", "DEAD"]}]


def place(ae_title: str, port: int, **more: object) -> dict[str, object]:
    return {"ae_title": ae_title, "host": "127.0.0.1", "port": port, "results": [], **more}


def states(node: Nodus, ae_title: str) -> dict[str, int]:
    (to,) = Flow(node.catalog).rows(tables.destination, ae_title=ae_title)
    with node.catalog.reading() as session:
        return forwards.of_destination(session, to["id"])


def at_once(node: Nodus) -> None:
    """Nobody waits in a test for a destination that is left alone: `nodus destinations resume` would end it too."""
    with node.catalog.writing() as session:
        session.execute(tables.destination.update().values(breaker_until=None, breaker="closed", breaker_failures=0))
        session.execute(tables.forward.update().values(not_before=tables.forward.c.created_at))


@contextmanager
def archives(folder: Path) -> Iterator[tuple[Orthanc, int]]:
    (folder / "orthanc").mkdir()
    with orthanc(folder / "orthanc") as archive:
        yield archive, free_port()


def test_all_images_are_there_once_though_destination_and_node_are_killed(tmp_path: Path) -> None:
    series = Series("killed", count=IMAGES, step_mm=0.3)
    sent = {payload.sop_instance_uid: payload.data_set for payload in series.payloads()}
    with ExitStack() as stack:
        archive, plain_port = stack.enter_context(archives(tmp_path))
        places = [place("PLAIN", plain_port), place("ORTHANC", archive.port), place("DEAD", free_port())]
        node = stack.enter_context(nodus(tmp_path / "data", senders=HASTY, destinations=places, rules=ALL_TO))
        with storescp(tmp_path / "plain", port=plain_port) as plain:
            send(node.dicom_port, series.payloads())
            eventually(lambda: len(plain.files()) > IMAGES // 5, WITHIN_S, "the first images")
            plain.process.kill()
            plain.process.wait()
        eventually(lambda: states(node, "ORTHANC").get("delivered", 0) > IMAGES // 2, WITHIN_S, "half of it")
        node.kill()
        with storescp(tmp_path / "plain", port=plain_port) as plain:
            node.start()
            at_once(node)
            for name in ("PLAIN", "ORTHANC"):
                eventually(lambda name=name: states(node, name) == {"delivered": IMAGES}, WITHIN_S, name)
            files = {each.sop_instance_uid: each for each in map(payload_of_file, plain.files())}
            assert {uid: each.data_set for uid, each in files.items()} == sent
        assert set(archive.get("/instances?limit=10000") and archive.instances()) == set(sent)
        assert states(node, "DEAD") == {"due": IMAGES}
        audited = node.audit("images forwarded")
        assert all(entry.study_instance_uid == series.study_uid for entry in audited)
        said = node.command("studies", series.study_uid)
        assert f"forwarded to PLAIN: delivered {IMAGES}" in said


@pytest.fixture(scope="module")
def compressed() -> list[Payload]:
    """One image as RLE without loss, one that says that it is JPEG with loss."""
    rle, lossy = Series("syntax", "rle").datasets([0]), Series("syntax", "lossy").datasets([0])
    rle[0].compress(RLELossless, generate_instance_uid=False)
    return [payload_of(rle[0]), payload_of(lossy[0])._replace(transfer_syntax_uid=JPEGBaseline8Bit)]


def test_the_stored_transfer_syntax_is_proposed_and_uncompressed_is_the_way_out(
    tmp_path: Path, compressed: list[Payload]
) -> None:
    rle, lossy = compressed
    with ExitStack() as stack:
        every = stack.enter_context(storescp(tmp_path / "every", "+xa"))
        explicit = stack.enter_context(storescp(tmp_path / "explicit", "+xe"))
        implicit = stack.enter_context(storescp(tmp_path / "implicit", "+xi"))
        places = [place("EVERY", every.port), place("EXPLICIT", explicit.port), place("IMPLICIT", implicit.port)]
        rules = [{"name": "all", "pipeline": "store", "forward": ["EVERY", "EXPLICIT", "IMPLICIT"]}]
        node = stack.enter_context(nodus(tmp_path / "data", senders=HASTY, destinations=places, rules=rules))
        plain = Series("syntax", "plain").payloads([0])[0]
        send(node.dicom_port, [rle, plain])
        for name in ("EVERY", "EXPLICIT", "IMPLICIT"):
            eventually(lambda name=name: states(node, name) == {"delivered": 2}, 60, name)
        kept = {each.sop_instance_uid: each for each in map(payload_of_file, every.files())}
        assert kept[rle.sop_instance_uid].data_set == rle.data_set
        assert kept[rle.sop_instance_uid].transfer_syntax_uid == RLELossless
        for scp, syntax in ((explicit, ExplicitVRLittleEndian), (implicit, ImplicitVRLittleEndian)):
            read = {each.SOPInstanceUID: each for each in map(dcmread, scp.files())}
            assert {each.file_meta.TransferSyntaxUID for each in read.values()} == {syntax}
            assert read[rle.sop_instance_uid].PixelData == Series("syntax", "rle").datasets([0])[0].PixelData
        assert list((node.data / "transcoded").iterdir()) == []

        send(node.dicom_port, [lossy])
        eventually(lambda: states(node, "EXPLICIT") == {"delivered": 2, "refused": 1}, 60, "the lossy one is refused")
        row = Flow(node.catalog).rows(tables.forward, state="refused")[0]
        assert "JPEG Baseline" in row["error"]
        assert "is not re-encoded here" in row["error"]
        eventually(lambda: states(node, "EVERY") == {"delivered": 3}, 60, "who takes it gets it as it came")
        assert "forwards_refused" in node.command("status", code=1)


def test_a_destination_that_takes_nothing_of_this_kind_is_not_left_alone(tmp_path: Path) -> None:
    with answering_pacs() as picky:  # results and Verification alone
        places, rules = [place("PICKY", picky.port)], [{"name": "all", "pipeline": "store", "forward": ["PICKY"]}]
        with nodus(tmp_path / "data", senders=HASTY, destinations=places, rules=rules) as node:
            send(node.dicom_port, Series("picky").payloads([0]))
            eventually(lambda: states(node, "PICKY") == {"refused": 1}, 60, "refused")
            (row,) = Flow(node.catalog).rows(tables.forward)
            assert "takes no such object" in row["error"]
            assert Flow(node.catalog).rows(tables.destination)[0]["breaker"] == "closed"


def test_an_archive_confirms_what_it_got_on_an_association_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "orthanc").mkdir()
    modality = {"AET": "NODUS", "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}
    series = Series("committed", count=5)
    with orthanc(tmp_path / "orthanc", modality) as archive:
        places = [place("ORTHANC", archive.port, commitment="commitment")]
        rules = [{"name": "all", "pipeline": "store", "forward": ["ORTHANC"]}]
        arguments = ("--port", str(port))
        with nodus(tmp_path / "data", *arguments, senders=HASTY, destinations=places, rules=rules) as node:
            send(node.dicom_port, series.payloads())
            eventually(lambda: states(node, "ORTHANC") == {"committed": 5}, 90, "committed")
            (row,) = node.audit("forwards committed")
            assert (row.actor, '"images": 5' in row.detail) == ("ORTHANC", True)


def test_rules_are_read_again_without_a_restart(tmp_path: Path) -> None:
    if sys.stdin and sys.stdin.isatty():
        pytest.skip("in a terminal SIGHUP means that it was closed")
    with storescp(tmp_path / "plain") as plain:
        _reloaded(tmp_path, plain)


def _reloaded(folder: Path, plain: StoreScp) -> None:
    settings, head = folder / "nodus.toml", (
        '[[senders]]\nnetwork = "127.0.0.0/8"\ngapless_quiet_s = 0.2\nquiet_s = 0.4\n'
        f'[[destinations]]\nae_title = "PLAIN"\nhost = "127.0.0.1"\nport = {plain.port}\nresults = []\n'
    )  # fmt: skip
    settings.write_text(head)
    with nodus(folder / "data", "--config", str(settings)) as node:
        assert node.process is not None
        settings.write_text(head + '[[rules]]\nname = "bad"\nforward = ["NOWHERE"]\n')
        os.kill(node.process.pid, signal.SIGHUP)
        eventually(lambda: "NOWHERE, which is no destination" in node.log(), what="a wrong rule changes nothing")
        settings.write_text(head + '[[rules]]\nname = "new"\npipeline = "store"\nforward = ["PLAIN"]\n')
        os.kill(node.process.pid, signal.SIGHUP)
        eventually(lambda: "settings were read again" in node.log(), what="the new rule is used")
        send(node.dicom_port, Series("reload").payloads([0]))
        eventually(lambda: len(plain.files()) == 1, what="it is forwarded")
