"""The web port of a running node."""

import json
import socket
import threading
from pathlib import Path

from node.catalog.session import Catalog
from node.flow.loop import Loop
from node.metrics import Metrics
from node.web.live import server
from tests.conftest import AUDIT_KEY
from tests.sender import send
from tests.servers import Nodus, eventually, fetch
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


def test_it_says_which_part_hangs(sqlite_template: Path) -> None:
    """As in a call to a volume that is gone: nothing fails, and nothing ends."""
    catalog, let_go = Catalog(f"sqlite:///{sqlite_template}", AUDIT_KEY), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hung = Loop("register", lambda: let_go.wait(60) and False, 3600, hangs_after_s=0.01)
        web, url = server(catalog, [hung], Metrics(), listener), f"http://127.0.0.1:{listener.getsockname()[1]}/readyz"
        web.start()
        hung.start()
        page = eventually(lambda: page if (page := fetch(url)).status == 503 else None)
        let_go.set()
        state = json.loads(page.body)
        assert (state["register"][:12], state["database"]) == ("hangs since ", "ok")
        eventually(lambda: fetch(url).status == 200)
        hung.stop(10)
        web.stop(10)
    catalog.close()
