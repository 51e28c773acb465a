"""spool.py: what is published survives, once, byte for byte; what is not leaves nothing."""

import multiprocessing
import os
import re
import resource
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Event

import pytest
from pydicom import dcmread

from node import spool as spool_module
from node.errors import StoreRefused
from node.headers.meta import FileIdentity, reception_of
from node.spool import Spool, StoredInstance, write_durably
from tests.peers import missing, require
from tests.sender import Payload
from tests.studies import Series, keep, reception

PAYLOAD = Series().payloads([0])[0]
OTHER_BYTES = Series().having(PatientComments="later").payloads([0])[0]
OTHER_STUDY = Series().having(StudyInstanceUID="1.2.3.4").payloads([0])[0]


def identity_of(payload: Payload) -> FileIdentity:
    return FileIdentity(payload.sop_class_uid, payload.sop_instance_uid, payload.transfer_syntax_uid)


def publish(spool: Spool, payload: Payload, study_uid: str = Series().study_uid) -> StoredInstance:
    with spool.receive(identity_of(payload), reception()) as incoming:
        incoming.write(memoryview(payload.data_set))
        return incoming.publish(payload.sop_instance_uid, study_uid)


def everything_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def test_a_published_file_is_part_10_and_its_data_set_byte_for_byte_what_came(spool: Spool) -> None:
    arrival = keep(spool, PAYLOAD)
    raw = spool.absolute(arrival.path).read_bytes()
    assert raw[128:132] == b"DICM"
    assert raw.endswith(PAYLOAD.data_set)
    assert arrival.size == len(raw)
    read = dcmread(spool.absolute(arrival.path))
    assert read.file_meta.TransferSyntaxUID == PAYLOAD.transfer_syntax_uid
    assert read.file_meta.MediaStorageSOPInstanceUID == read.SOPInstanceUID == PAYLOAD.sop_instance_uid
    assert list(spool.files()) == [arrival.path]


def test_the_file_alone_tells_who_brought_it_when_and_how(spool: Spool) -> None:
    brought = replace(reception(), calling_ae_title="CT 1 ä", address="fe80::1")
    arrival = keep(spool, PAYLOAD, brought)
    assert reception_of(dcmread(spool.absolute(arrival.path)).file_meta) == brought


def test_a_file_of_somebody_else_tells_nothing_about_its_arrival(tmp_path: Path) -> None:
    dataset = Series().datasets([0])[0]
    dataset.save_as(tmp_path / "x.dcm", enforce_file_format=True)
    assert reception_of(dcmread(tmp_path / "x.dcm").file_meta) is None


def test_no_file_name_and_no_mode_gives_a_patient_away(spool: Spool, data: Path) -> None:
    keep(spool, PAYLOAD)
    for path in data.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0 or path == data / "spool", path
        named = r"spool|incoming|instances|journal|[0-9a-f]{3}|[0-9a-f]{64}-[0-9a-f]{64}\.dcm"
        assert re.fullmatch(named, path.name), path


def test_the_same_bytes_again_are_one_file(spool: Spool) -> None:
    first, again = publish(spool, PAYLOAD), publish(spool, PAYLOAD)
    assert (first.created, again.created) == (True, False)
    assert (first.path, first.digest) == (again.path, again.digest)
    assert list(spool.files()) == [first.path]


def test_other_bytes_under_the_same_uid_are_a_second_version_and_the_first_stays(spool: Spool) -> None:
    first = publish(spool, PAYLOAD)
    before = spool.absolute(first.path).read_bytes()
    second = publish(spool, OTHER_BYTES)
    assert second.created
    assert sorted(spool.files()) == sorted([first.path, second.path])
    assert spool.absolute(first.path).read_bytes() == before


def test_the_same_uid_under_another_study_is_refused_with_a900(spool: Spool) -> None:
    publish(spool, PAYLOAD)
    with pytest.raises(StoreRefused, match="another Study Instance UID") as refusal:
        publish(spool, OTHER_STUDY, "1.2.3.4")
    assert refusal.value.status == 0xA900
    assert len(list(spool.files())) == 1


def test_a_study_uid_with_odd_padding_is_no_other_study(spool: Spool) -> None:
    uid = Series().study_uid.encode()
    odd = PAYLOAD._replace(data_set=PAYLOAD.data_set.replace(uid, b" " + uid[1:]))
    assert odd != PAYLOAD
    assert keep(spool, odd).path == keep(spool, odd).path


def test_leaving_without_publishing_leaves_nothing(spool: Spool, data: Path) -> None:
    before = open_files()
    with pytest.raises(RuntimeError), spool.receive(identity_of(PAYLOAD), reception()) as incoming:
        incoming.write(memoryview(PAYLOAD.data_set))
        raise RuntimeError
    assert everything_in(data) == []
    assert open_files() == before


def test_what_a_killed_process_left_half_written_goes_at_the_next_start_and_nothing_else(
    spool: Spool, data: Path
) -> None:
    kept = keep(spool, PAYLOAD)
    (data / "spool/incoming/99-1").write_bytes(b"half")
    spool.prepare()
    assert everything_in(data) == [spool.absolute(kept.path)]


@pytest.mark.parametrize(("least_bytes", "least_fraction"), [(1 << 62, 0.0), (0, 0.999999)])
def test_a_low_disk_is_refused_with_a700_before_anything_is_written(
    tmp_path: Path, least_bytes: int, least_fraction: float
) -> None:
    spool = Spool(tmp_path, minimum_free_bytes=least_bytes, minimum_free_fraction=least_fraction)
    spool.prepare()
    with pytest.raises(StoreRefused, match="disk is low") as refusal:
        spool.receive(identity_of(PAYLOAD), reception())
    assert refusal.value.status == 0xA700
    assert everything_in(tmp_path) == []


def test_a_disk_that_fills_in_the_middle_is_refused_with_a700(spool: Spool, data: Path) -> None:
    with (
        files_no_larger_than(2000),
        pytest.raises(StoreRefused) as refusal,
        spool.receive(identity_of(PAYLOAD), reception()) as incoming,
    ):
        for _ in range(10):
            incoming.write(memoryview(b"x" * 500))
    assert refusal.value.status == 0xA700
    assert everything_in(data) == []


@pytest.mark.parametrize("size", [0, 100])
def test_a_disk_that_is_full_from_the_start_costs_no_descriptor_and_leaves_no_file(
    spool: Spool, data: Path, size: int
) -> None:
    before = open_files()
    with files_no_larger_than(size), pytest.raises(StoreRefused) as refusal:
        spool.receive(identity_of(PAYLOAD), reception())
    assert refusal.value.status == 0xA700
    assert everything_in(data) == []
    assert open_files() == before


def test_a_folder_that_has_gone_is_refused_with_a700(spool: Spool, data: Path) -> None:
    with pytest.raises(StoreRefused) as refusal, spool.receive(identity_of(PAYLOAD), reception()) as incoming:
        incoming.write(memoryview(PAYLOAD.data_set))
        for path in (data / "spool/incoming").iterdir():
            path.unlink()
        incoming.publish(PAYLOAD.sop_instance_uid, Series().study_uid)
    assert refusal.value.status == 0xA700


class Together:
    """Does the same in two processes at once."""

    def __init__(self, work: Callable[[Path], list[int]]) -> None:
        self._work = work

    def results(self, data: Path) -> list[list[int]]:
        context = multiprocessing.get_context("spawn")
        start, results = context.Barrier(2), context.Queue()
        workers = [context.Process(target=self._run, args=(data, start, results)) for _ in range(2)]
        for worker in workers:
            worker.start()
        gathered = [results.get(timeout=60) for _ in workers]
        for worker in workers:
            worker.join()
        results.close()
        return gathered

    def _run(self, data: Path, start: Barrier, results: "Queue[list[int]]") -> None:
        start.wait()
        results.put(self._work(data))


def _publish_versions(data: Path) -> list[int]:
    spool = Spool(data, minimum_free_bytes=0, minimum_free_fraction=0.0)
    return [publish(spool, payload).created for _ in range(20) for payload in (PAYLOAD, OTHER_BYTES)]


def _publish_as_own_study(data: Path) -> list[int]:
    """Whether each of many instances is taken under a study that only this process names; linking takes its time."""
    link = spool_module._link
    spool_module._link = lambda *names: not Event().wait(0.003) and link(*names)
    spool = Spool(data, minimum_free_bytes=0, minimum_free_fraction=0.0)
    taken = []
    for number in range(40):
        instance, study = f"1.2.3.{number}", f"1.2.4.{os.getpid()}"
        content = PAYLOAD.data_set.replace(Series().study_uid.encode(), study.ljust(len(Series().study_uid)).encode())
        try:
            publish(spool, PAYLOAD._replace(sop_instance_uid=instance, data_set=content), study)
            taken.append(1)
        except StoreRefused:
            taken.append(0)
    return taken


def test_two_processes_at_once_create_each_version_exactly_once(spool: Spool, data: Path) -> None:
    assert sum(map(sum, Together(_publish_versions).results(data))) == 2
    assert len(list(spool.files())) == 2


def test_two_processes_at_once_never_take_one_instance_for_two_studies(spool: Spool, data: Path) -> None:
    one, other = Together(_publish_as_own_study).results(data)
    assert [a + b for a, b in zip(one, other, strict=True)] == [1] * 40
    assert len(list(spool.files())) == 40


PUBLISH = """
import sys
from pathlib import Path
from tests.studies import Series, keep
from node.spool import Spool
spool = Spool(Path(sys.argv[1]), minimum_free_bytes=0, minimum_free_fraction=0.0)
print(keep(spool, Series().payloads([0])[0]).path)
"""


def test_the_file_is_synced_then_linked_then_its_folder_is_synced(spool: Spool, tmp_path: Path, data: Path) -> None:
    trace = tmp_path / "trace"
    calls = "trace=openat,fsync,fdatasync,link,linkat,rename,renameat,close"
    command = [require("strace", "strace"), "-f", "-y", "-e", calls, "-o", str(trace), sys.executable, "-c", PUBLISH]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    ended = subprocess.run([*command, str(data)], cwd=root, env=environment, capture_output=True, text=True)
    if "ptrace" in ended.stderr.lower():
        missing("this machine does not let strace trace")
    path = ended.stdout.strip()
    durable = [
        re.sub(r"^\d+ +", "", line) for line in trace.read_text().splitlines() if re.search(r" (fsync|link)\(", line)
    ]
    incoming, folder = str(data / "spool/incoming"), str((data / path).parent)
    assert len(durable) == 3, durable
    assert re.match(rf"fsync\(\d+<{incoming}/", durable[0])
    assert re.match(rf'link\("{incoming}/[^"]+", "{data}/{path}"\) += 0', durable[1])
    assert re.match(rf"fsync\(\d+<{folder}>\) += 0", durable[2])


def test_a_small_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "key"
    write_durably(path, b"one")
    write_durably(path, b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
