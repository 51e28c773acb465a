"""receiver.py: a receiver serves when it was told whom, and never longer than its node."""

import threading
from contextlib import suppress
from pathlib import Path

import pytest
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node import receiver
from node.catalog import peers
from node.domain.peers import Sender, Standing
from node.doors import Doors, bind
from node.settings import Settings
from tests.sender import Ended, Rejected, Scanner
from tests.servers import eventually, free_port, nodus

CT = [(CTImageStorage, ExplicitVRLittleEndian)]
HERE = (Sender("*", "127.0.0.0/8", Standing.ALLOWED),)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    settings = Settings(data=tmp_path / "data", minimum_free_gib=0.0, minimum_free_fraction=0.0)
    receiver.spool_of(settings).prepare()
    receiver.prepare(settings)
    return settings


def test_a_receiver_ends_with_its_node_even_where_that_dies_the_moment_it_is_ready(settings: Settings) -> None:
    with bind("127.0.0.1", 0, "--port") as listener:
        started = [receiver.start(settings, Doors(listener)) for _ in range(3)]
        for process, pipe in started:
            pipe.send(receiver.Know(HERE))
            receiver.wait_until_ready(pipe)
            pipe.close()
            process.join(15.0)
        left = [process.is_alive() for process, _ in started]
        for process, _ in started:
            process.kill()
    assert left == [False] * 3


@pytest.mark.parametrize("how", ["dies", "stops"])
def test_a_receiver_whose_node_ends_before_it_said_who_may_send_serves_nobody(settings: Settings, how: str) -> None:
    with bind("127.0.0.1", 0, "--port") as listener:
        process, pipe = receiver.start(settings, Doors(listener))
        if how == "stops":
            pipe.send(receiver.Stop())
        else:
            pipe.close()
        process.join(15.0)
        assert process.exitcode == 0
        pipe.close()


def test_at_a_start_nobody_is_heard_whom_the_operator_denied(tmp_path: Path) -> None:
    """The settings allow everybody here; callers come from before the port is open until the node says READY."""
    with nodus(tmp_path / "data", "--port", str(free_port()), receivers=2) as node:
        with node.catalog.writing() as session:
            peers.decide(session, Sender("DENIED", "127.0.0.1/32", Standing.DENIED))
        node.stop()
        heard, ready = [], threading.Event()

        def call() -> None:
            while not ready.is_set():
                try:
                    Scanner(node.dicom_port, CT, "DENIED").abort()
                    heard.append(True)
                except Rejected:
                    heard.append(False)
                except (Ended, OSError):
                    ready.wait(0.005)

        calling = threading.Thread(target=call)
        calling.start()
        try:
            node.start()
        finally:
            ready.set()
            calling.join()
        with suppress(Ended):
            eventually(lambda: heard, what="somebody called")
        assert set(heard) == {False}
