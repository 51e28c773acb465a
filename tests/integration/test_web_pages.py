"""The web port of a running node."""

import json

from tests.sender import send
from tests.servers import Nodus, eventually
from tests.studies import Series


def test_it_says_that_it_lives(node: Nodus) -> None:
    page = node.web("/healthz")
    assert (page.status, page.body) == (200, "ok\n")


def test_it_says_of_every_part_whether_it_works(node: Nodus) -> None:
    page = node.web("/readyz")
    state = json.loads(page.body)
    assert (page.status, set(state.values())) == (200, {"ok"})
    assert {"register", "complete", "enqueue", "release", "receivers", "database"} <= set(state)


def test_it_counts_what_comes(node: Nodus) -> None:
    before = node.metric("nodus_instances_stored_total")
    send(node.dicom_port, Series(f"count {node.web_port}").payloads(range(3)))
    eventually(lambda: node.metric("nodus_instances_stored_total") >= before + 3)
    refused = node.metric('nodus_instances_refused_total{status="0xC000"}')
    send(node.dicom_port, [Series("bad").payloads([0])[0]._replace(data_set=b"garbage!")])
    eventually(lambda: node.metric('nodus_instances_refused_total{status="0xC000"}') >= refused + 1)
    eventually(lambda: node.metric("nodus_associations_open") == 0)


def test_it_shows_jobs_results_and_loops(node: Nodus) -> None:
    page = node.web("/metrics")
    assert page.status == 200
    assert node.metric('nodus_loop_failures{loop="register"}') == 0
    assert 'nodus_loop_failures{loop="complete"} 0.0' in page.body
    assert "# TYPE nodus_jobs gauge" in page.body
    assert "# TYPE nodus_results gauge" in page.body


def test_there_is_nothing_else(node: Nodus) -> None:
    assert node.web("/").status == 404
    assert node.web("/../../etc/passwd").status == 404
