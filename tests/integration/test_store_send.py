"""dicom/store_scu.py against peers that are gone, silent, or leave in the middle: a sentence in time, never a hang."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SegmentationStorage

from node.dicom import store_scu
from node.dicom.store_scu import Patience
from node.domain.peers import Destination
from node.errors import PeerFailed
from tests.servers import answering_pacs, eventually, free_port

HASTY = Patience(connect_s=1.0, answer_s=1.0)
LARGE = 20_000_000
"""More than fits into the buffers between two sockets."""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A segmentation of 20 MB."""
    ds = Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID, ds.BitsAllocated = SegmentationStorage, "1.2.3", 8
    ds.add_new("PixelData", "OB", bytes(LARGE))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.save_as(tmp_path / "large.dcm", enforce_file_format=True)
    return tmp_path / "large.dcm"


@contextmanager
def in_front_of(pacs_port: int, then: Callable[[socket.socket], None]) -> Iterator[Destination]:
    """A peer that lets a PACS accept the association, and then does something else with the connection."""

    def serve() -> None:
        with suppress(OSError):
            caller, _ = listener.accept()
            pacs = socket.create_connection(("127.0.0.1", pacs_port))
            open_sockets.extend((caller, pacs))
            pacs.sendall(caller.recv(65536))
            caller.sendall(pacs.recv(65536))
            then(caller)

    open_sockets: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield Destination("FRONT", "127.0.0.1", listener.getsockname()[1])
        finally:
            thread.join()
            for each in open_sockets:
                each.close()


def leave_after_some(caller: socket.socket) -> None:
    assert caller.recv(65536)
    caller.close()


@pytest.mark.parametrize(
    "then", [lambda _: None, leave_after_some], ids=["stops reading in the middle", "leaves in the middle"]
)
def test_who_does_not_take_all_of_it_has_failed(
    large: Path, then: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store_scu, "SLOWEST_BYTES_PER_S", 1e9)
    failed = list[PeerFailed]()

    def attempt() -> None:
        try:
            with store_scu.connected("NODUS", HASTY, peer) as sending:
                sending.send(large, SegmentationStorage)
        except PeerFailed as error:
            failed.append(error)

    with answering_pacs() as pacs, in_front_of(pacs.port, then) as peer:
        threading.Thread(target=attempt, daemon=True).start()
        eventually(lambda: failed, what="it is given up")


def test_who_is_slow_to_answer_a_large_instance_is_granted_its_time(large: Path) -> None:
    with answering_pacs() as pacs:
        pacs.open.clear()
        threading.Timer(2.0, pacs.open.set).start()
        peer = Destination("SLOW", "127.0.0.1", pacs.port)
        with store_scu.connected("NODUS", HASTY, peer) as sending:
            assert sending.send(large, SegmentationStorage) == 0


def test_a_peer_that_takes_the_connection_and_says_nothing_fails_the_echo() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(PeerFailed, match="cannot be reached"):
        store_scu.echo("NODUS", Destination("SILENT", "127.0.0.1", silent.getsockname()[1]), HASTY)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # pynetdicom's socket, dropped unclosed
def test_a_peer_that_is_not_there_fails_the_echo() -> None:
    with pytest.raises(PeerFailed, match="cannot be reached"):
        store_scu.echo("NODUS", Destination("GONE", "127.0.0.1", free_port()), HASTY)


@pytest.mark.parametrize(
    ("peer", "why"),
    [
        (Destination("PACS", "pacs.invalid", 104), "its host cannot be found"),  # RFC 2606: no such name, for ever
        (Destination("PACS", "..", 104), "no valid host name or AE title"),
        (Destination("PÄCS", "127.0.0.1", 104), "no valid host name or AE title"),
    ],
    ids=["no such host", "no host name", "no AE title"],
)
def test_a_place_that_cannot_be_called_fails_like_one_that_does_not_answer(peer: Destination, why: str) -> None:
    with pytest.raises(PeerFailed, match=why):
        store_scu.echo("NODUS", peer, HASTY)
    with pytest.raises(PeerFailed, match=why), store_scu.connected("NODUS", HASTY, peer):
        pass


def test_whoever_rejects_us_says_so() -> None:
    with answering_pacs(only_from=["SOMEBODY"]) as pacs, pytest.raises(PeerFailed, match="allow our AE title"):
        store_scu.echo("NODUS", Destination("CLOSED", "127.0.0.1", pacs.port), HASTY)


def test_whoever_asks_at_a_terminal_has_an_answer_within_ten_seconds() -> None:
    assert store_scu.ECHO_PATIENCE.connect_s + store_scu.ECHO_PATIENCE.answer_s <= 10
