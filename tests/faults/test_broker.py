"""A broker that forgets its messages: SQL knows better, each job is published again and done once."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis as redis_client

from node.catalog import jobs
from node.catalog.session import Catalog
from node.flow import enqueue
from node.queue import QUEUE, JobQueue
from tests.flow import Flow, queued
from tests.servers import redis
from tests.studies import AT, after


class Files:
    """The filesystem transport."""

    url = "filesystem://"

    def __init__(self, data: Path) -> None:
        self._messages = data / "broker" / "messages"

    def waiting(self) -> int:
        return len([*self._messages.iterdir()]) if self._messages.is_dir() else 0

    def forget(self) -> None:
        """As somebody who tidies up: the folders too."""
        shutil.rmtree(self._messages.parent)


class Redis:
    """Redis, of which one may FLUSHALL."""

    def __init__(self, url: str) -> None:
        self.url = url

    def waiting(self) -> int:
        with redis_client.Redis.from_url(self.url) as client:
            return int(client.llen(QUEUE))

    def forget(self) -> None:
        with redis_client.Redis.from_url(self.url) as client:
            client.flushall()


@pytest.fixture(params=["files", "redis"])
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Files | Redis]:
    if request.param == "files":
        yield Files(tmp_path)
    else:
        with redis(tmp_path) as url:
            yield Redis(url)


def a_worker_with_three_slots(catalog: Catalog, now_s: float) -> None:
    with catalog.writing() as session:
        jobs.worker_seen(session, "one", 3, after(now_s))


def test_messages_that_the_broker_forgot_are_published_again_and_each_job_is_done_once(
    catalog: Catalog, broker: Files | Redis, tmp_path: Path
) -> None:
    """Three jobs are published and the broker is emptied. Nothing is published twice before a message must be lost;
    then each once more; a job that a worker had taken meanwhile is not; and who comes late finds nothing to do."""
    flow: Flow = queued(catalog, studies=3)
    queue = JobQueue(broker.url, tmp_path)
    a_worker_with_three_slots(catalog, 0)
    while enqueue.step(catalog, queue.publish, AT):
        continue
    assert broker.waiting() == 3
    broker.forget()
    flow.claimed(2, after(1), token="fast")
    a_worker_with_three_slots(catalog, 29)
    assert not enqueue.step(catalog, queue.publish, after(29))
    a_worker_with_three_slots(catalog, 31)
    while enqueue.step(catalog, queue.publish, after(31)):
        continue
    assert broker.waiting() == 2
    flow.finish(1, after(32))
    flow.finish(3, after(32))
    assert flow.claim(1, after(33)) is None
    assert not enqueue.step(catalog, queue.publish, after(90))
    assert [(row["id"], row["state"], row["attempts"]) for row in flow.jobs()] == [
        (1, "done", 1), (2, "running", 1), (3, "done", 1),
    ]  # fmt: skip
    queue.close()
