"""queue.py with files and with Redis: a message is a job id and nothing else."""

import base64
import json
from collections.abc import Iterator
from errno import ENOSPC
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client
from kombu import Connection

from node.errors import Unavailable
from node.queue import QUEUE, TASK, JobQueue, settings_of
from tests.servers import free_port, redis


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Redis."""
    with redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


def published(url: str, data: Path, *job_ids: int) -> list[dict[str, Any]]:
    """Publish, and read the messages where the broker keeps them."""
    queue = JobQueue(url, data)
    for job_id in job_ids:
        queue.publish(job_id)
    queue.close()
    if url.startswith("filesystem"):
        files = sorted((data / "broker" / "messages").iterdir(), key=lambda path: path.stat().st_mtime_ns)
        return [json.loads(path.read_text()) for path in files]
    with redis_client.Redis.from_url(url) as client:
        found = [json.loads(raw) for raw in client.lrange(QUEUE, 0, -1)[::-1]]
        client.delete(QUEUE)
    return found


@pytest.mark.parametrize("kind", ["files", "redis"])
def test_each_job_becomes_a_message_for_the_task_of_the_workers(tmp_path: Path, redis_url: str, kind: str) -> None:
    messages = published(redis_url if kind == "redis" else "filesystem://", tmp_path, 7, 8)
    assert [message["headers"]["task"] for message in messages] == [TASK, TASK]
    bodies = [json.loads(base64.b64decode(message["body"])) for message in messages]
    assert [(body[0], body[1]) for body in bodies] == [([7], {}), ([8], {})]


def test_message_files_are_private(tmp_path: Path) -> None:
    published("filesystem://", tmp_path, 7)
    for folder in (tmp_path / "broker").iterdir():
        assert folder.stat().st_mode & 0o077 == 0


def test_a_broker_that_does_not_answer_is_one_sentence(tmp_path: Path) -> None:
    queue = JobQueue(f"redis://127.0.0.1:{free_port()}/0", tmp_path)
    with pytest.raises(Unavailable, match=r"^The broker does not answer \(\w+\)\.$"):
        queue.publish(7)
    queue.close()


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    queue = JobQueue("filesystem://", tmp_path)
    (tmp_path / "broker" / "messages").rmdir()
    (tmp_path / "broker" / "messages").write_text("in the way")
    with pytest.raises(Unavailable, match=r"^The broker does not answer \(\w+\)\.$"):
        queue.publish(7)
    queue.close()


def test_the_workers_register_the_task_that_the_node_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("NODUS_DATA", str(tmp_path))  # it reads its settings where Celery looks for it: at import
    assert TASK in import_module("workers.app").app.tasks


def next_job(data: Path) -> int:
    """Read a message as a worker does."""
    settings = settings_of("filesystem://", data)
    transport, options = settings["broker_transport"], settings["broker_transport_options"]
    with Connection(transport=transport, transport_options=options) as connection:
        message = connection.SimpleQueue(QUEUE).get(timeout=10)
        message.ack()
        return int(message.payload[0][0])


@pytest.mark.parametrize("left", [b"", b'{"body": "W1s3'])
def test_what_a_killed_writer_left_ends_nobody(tmp_path: Path, left: bytes) -> None:
    queue = JobQueue("filesystem://", tmp_path)
    (tmp_path / "broker" / "messages" / f"0_broken.{QUEUE}.msg").write_bytes(left)
    (tmp_path / "broker" / "control" / f"{QUEUE}.exchange").write_bytes(left)
    queue.publish(7)
    queue.close()
    assert next_job(tmp_path) == 7
    assert list((tmp_path / "broker" / "messages").iterdir()) == []


def test_nobody_reads_a_message_that_is_being_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue, whole, seen = JobQueue("filesystem://", tmp_path), Path.write_bytes, []

    def watched(path: Path, content: bytes) -> int:
        written = whole(path, content[: len(content) // 2])
        seen.append([each.name for each in path.parent.iterdir() if each.name.endswith(".msg")])
        return written and whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", watched)
    queue.publish(7)
    queue.close()
    assert (seen, next_job(tmp_path)) == ([[]], 7)


def test_a_disk_that_takes_no_message_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(ENOSPC, "No space left on device")

    queue = JobQueue("filesystem://", tmp_path)
    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(Unavailable, match=r"^The broker does not answer \(\w+\)\.$"):
        queue.publish(7)
    queue.close()
