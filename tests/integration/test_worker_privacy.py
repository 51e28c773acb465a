"""In production, on PostgreSQL and Redis, a job fails with words of the patient's images: nobody is named anywhere."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
import redis as redis_client

from node.catalog import jobs, tables
from node.catalog.instant import now_of
from node.queue import QUEUE
from tests.commanded import commanded, ends, log_of, rows, worker
from tests.hooks import Hook
from tests.sender import send
from tests.sentinel import NAME, PATIENT, sentinels_in
from tests.servers import HASTY, Nodus, Postgres, eventually, nodus, redis

pytest.importorskip("torch")
READERS = {
    "string": lambda client, key: client.get(key),
    "list": lambda client, key: client.lrange(key, 0, -1),
    "hash": lambda client, key: client.hgetall(key),
    "set": lambda client, key: client.smembers(key),
    "zset": lambda client, key: client.zrange(key, 0, -1, withscores=True),
}


def everything_in(url: str) -> str:
    """Every key and value of a Redis; the bodies of messages in plain text beside them."""
    with redis_client.Redis.from_url(url) as client:
        found = {key: READERS[client.type(key).decode()](client, key) for key in client.scan_iter()}
        messages: Any = client.lrange(QUEUE, 0, -1)
    return str(found) + "".join(base64.b64decode(json.loads(each)["body"]).decode() for each in messages)


def a_message_waits(node: Nodus) -> None:
    """Somebody says that it is a worker, and takes nothing."""
    with node.catalog.writing() as session:
        jobs.worker_seen(session, "idle", 1, now_of(session))


def forget_it(node: Nodus) -> None:
    with node.catalog.writing() as session:
        jobs.worker_gone(session, "idle")


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory, postgres_server: Postgres) -> dict[str, str]:
    """What is to be read after a job has failed for good; the results of its notice go nowhere."""
    folder, hook, said = tmp_path_factory.mktemp("privacy"), Hook(), dict[str, str]()
    series = commanded("quote", "quote").having(**PATIENT)
    settings = {"senders": HASTY, "log_level": "DEBUG", "alert_webhook_url": hook.url}
    with (
        hook.listening(),
        redis(folder) as url,
        postgres_server.database() as database_url,
        nodus(
            folder / "data", "--pacs", "AWAY@127.0.0.1:9", broker_url=url, database_url=database_url, **settings
        ) as node,
    ):
        a_message_waits(node)
        send(node.dicom_port, series.payloads())
        eventually(lambda: QUEUE in everything_in(url), what="a message waits in Redis")
        said["redis"] = everything_in(url)
        forget_it(node)
        with worker(node, obeys="quote"):
            dead = ends(node, series, "dead")
            ends(node, series, "done", kind="notice")
            said["redis"] += everything_in(url)
        assert (dead["failure"], dead["attempts"]) == ("unknown", 3)
        eventually(lambda: any("dead job" in body for body in hook.bodies), 60, "the alert is told")
        said["worker"] = log_of(node, 0)
        said["commands"] = node.command("jobs", "--state", "dead", "--json") + node.command("studies", series.study_uid)
        said["commands"] += node.command("alerts", code=1) + node.command("audit", "export")
        said["metrics"] = node.web("/metrics").body + node.web("/readyz").body
        said["rows"] = str(rows(node, tables.job)) + str(rows(node, tables.alert)) + str(rows(node, tables.outbox))
        said["file names"] = str([*Path(node.data).rglob("*")])
        said["webhook"] = "".join(hook.bodies)
        node.stop()
        said["node"] = node.log()
        said["servers"] = postgres_server.log.read_text() + (folder / "redis.log").read_text()
    return said


WHERE = {
    "redis": "nodus.run_job",
    "worker": "job failed",
    "node": "an alert was raised",
    "commands": "Unexpected error (ValueError)",
    "rows": "Unexpected error (ValueError)",
    "metrics": 'nodus_alerts{kind="dead job"} 1.0',
    "webhook": "dead job",
    "file names": ".dcm",
    "servers": "ready to accept connections",
}


@pytest.mark.parametrize("where", WHERE)
def test_a_job_that_fails_with_words_of_its_images_names_nobody(failed: dict[str, str], where: str) -> None:
    assert WHERE[where] in failed[where]
    assert sentinels_in(failed[where]) == []


def test_the_search_finds_who_is_named() -> None:
    assert sentinels_in(f"of {NAME}") == ["of zqsentinel^maria"]
