"""A running node and destinations that are gone, late, cut off: nothing lost, nothing double, others not held up."""

import hashlib
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from pydicom.uid import Comprehensive3DSRStorage, SegmentationStorage

from node.catalog import tables
from node.domain.delivery import ResultKind
from tests.deliveries import STUDY, Delivered, analyse_by_hand
from tests.flow import Flow, results
from tests.hooks import Hook
from tests.sender import payload_of_file, send
from tests.servers import (
    HASTY,
    AnsweringPacs,
    StoreScp,
    answering_pacs,
    eventually,
    free_port,
    nodus,
    storescp,
)
from tests.studies import Series


@dataclass
class Site(Delivered):
    """One node and everybody it sends to."""

    plain: StoreScp
    late: AnsweringPacs
    cut: AnsweringPacs
    gone: int
    """A port where nobody listens."""
    hook: Hook

    def breaker(self, ae_title: str) -> str:
        (to,) = Flow(self.node.catalog).rows(tables.destination, ae_title=ae_title)
        return str(to["breaker"])

    def echo(self, code: int) -> dict[str, str]:
        return {row["ae_title"]: row["answer"] for row in self.node.json("destinations", "echo", code=code)}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Four destinations of one node, a webhook that is down, and one study analysed by hand."""
    folder, hook, gone = tmp_path_factory.mktemp("site"), Hook(), free_port()
    with ExitStack() as stack:
        plain = stack.enter_context(storescp(folder / "plain"))
        late = stack.enter_context(answering_pacs())
        late.open.clear()
        cut = stack.enter_context(answering_pacs(0x0000, None))
        ports = {"PLAIN": plain.port, "LATE": late.port, "CUT": cut.port, "GONE": gone}
        arguments = [text for name, port in ports.items() for text in ("--pacs", f"{name}@127.0.0.1:{port}")]
        settings = {"senders": HASTY, "answer_timeout_s": 1.0, "alert_webhook_url": hook.url}
        node = stack.enter_context(nodus(folder / "data", *arguments, **settings))
        yield Site(node, analyse_by_hand(node, STUDY), plain, late, cut, gone, hook)


def test_who_does_not_answer_holds_up_no_other_destination_no_reception_and_no_analysis(site: Site) -> None:
    eventually(lambda: site.late.got, what="LATE has a C-STORE to answer")
    eventually(lambda: site.states("PLAIN") == ["delivered"] * 2, what="PLAIN has everything")
    assert {answer.status for answer in send(site.node.dicom_port, Series("meanwhile").payloads())} == {0}
    eventually(lambda: Flow(site.node.catalog).rows(tables.job, state="queued"), what="the next study is to be read")
    assert site.states("LATE") == ["due", "due"]


def test_who_answers_too_late_gets_the_very_instance_again_and_it_counts_once(site: Site) -> None:
    eventually(lambda: len(site.late.got) >= 2, what="LATE is sent it again")
    site.late.open.set()
    site.late.answers.append(0x0111)  # it has it already, and says so
    eventually(lambda: site.states("LATE") == ["delivered"] * 2, 60, "LATE has everything")
    segmentations = [ds for ds in site.late.got if ds.SOPClassUID == SegmentationStorage]
    assert len(segmentations) >= 2
    assert all(ds == segmentations[0] for ds in segmentations)
    assert segmentations[0].SOPInstanceUID == results(site.job, ResultKind.SEG)[0].sop_instance_uid
    delivered = [entry for entry in site.node.audit("result delivered") if entry.actor == "LATE"]
    assert len(delivered) == 2


def test_a_batch_that_was_cut_after_the_segmentation_goes_on_with_the_report(site: Site) -> None:
    eventually(lambda: site.states("CUT") == ["delivered"] * 2, what="CUT has everything")
    assert [ds.SOPClassUID for ds in site.cut.got] == [
        SegmentationStorage, Comprehensive3DSRStorage, Comprehensive3DSRStorage
    ]  # fmt: skip
    assert [row["attempts"] for row in site.rows("CUT")] == [1, 2]


def test_who_is_gone_is_left_alone_and_everybody_can_see_it(site: Site) -> None:
    site.late.open.set()
    eventually(lambda: site.states("LATE") == ["delivered"] * 2, 60, "LATE is well")
    eventually(lambda: site.breaker("GONE") == "open", 40, "GONE is left alone")
    place = f"GONE@127.0.0.1:{site.gone}"
    assert site.node.metric(f'nodus_destination_breaker{{destination="{place}"}}') == 2
    assert site.node.metric(f'nodus_destination_waiting_seconds{{destination="{place}"}}') > 0
    eventually(lambda: site.node.metric('nodus_alerts{kind="open breaker"}') == 1, what="it is an alert")
    told = site.node.json("status", code=1)
    assert (told["destinations"]["open"], told["alerts"]) == (1, {"open breaker": 1})
    (alert,) = site.node.json("alerts", code=1)
    assert (alert["kind"], alert["subject"], alert["notified_at"]) == ("open breaker", place, None)
    (gone,) = [row for row in site.node.json("destinations") if row["ae_title"] == "GONE"]
    assert (gone["breaker"], "cannot be reached" in gone["breaker_reason"]) == ("open", True)
    assert "a destination is left alone" in site.node.log()


def test_a_restart_keeps_it_so_and_the_webhook_is_told_once_when_it_listens(site: Site) -> None:
    eventually(lambda: site.breaker("GONE") == "open", 40, "GONE is left alone")
    failures = site.rows("GONE")[0]["failures"]
    site.node.stop()
    with site.hook.listening():
        site.node.start()
        eventually(lambda: site.hook.bodies, 60, "the webhook is told")
        eventually(lambda: site.node.json("alerts", code=1)[0]["notified_at"])
    (post,) = site.hook.posts()
    assert (post["kind"], post["node"]) == ("open breaker", "NODUS")
    assert site.breaker("GONE") in ("open", "half-open")
    assert site.rows("GONE")[0]["failures"] in (failures, int(str(failures)) + 1)  # one trial may have come due
    assert site.hook.url not in site.node.log()
    assert "s3cr3t" not in site.node.log()


def test_an_echo_that_is_answered_lets_everything_go_at_once(site: Site, tmp_path: Path) -> None:
    answers = site.echo(code=1)
    assert answers.pop("GONE") == f"GONE at 127.0.0.1:{site.gone} cannot be reached, or ended the association at once."
    assert set(answers.values()) == {"ok"}
    with storescp(tmp_path / "back", port=site.gone) as back:
        assert set(site.echo(code=0).values()) == {"ok"}
        eventually(lambda: site.states("GONE") == ["delivered"] * 2, what="GONE has everything")
        digests = {hashlib.sha256(payload_of_file(path).data_set).hexdigest() for path in back.files()}
    kept = [site.node.data / results(site.job, kind)[0].path for kind in (ResultKind.SEG, ResultKind.SR)]
    assert digests == {hashlib.sha256(payload_of_file(path).data_set).hexdigest() for path in kept}
    assert site.breaker("GONE") == "closed"
    (closed,) = [entry for entry in site.node.audit("breaker closed") if "GONE" in entry.detail]
    assert closed.actor in ("operator", "GONE")  # the node's own trial may come just before the echo
    eventually(lambda: not Flow(site.node.catalog).rows(tables.alert, cleared_at=None), what="the alert is cleared")
    assert site.node.json("alerts") == []


def test_an_operator_pauses_resends_and_resumes(site: Site) -> None:
    site.node.command("destinations", "pause", "PLAIN")
    said = site.node.command("resend", STUDY.study_uid, "--to", "PLAIN", code=1)
    assert said.startswith(
        "nodus: No result of this study was refused by a destination in use. Those that a destination took and lost"
    )
    told = site.node.json("resend", STUDY.study_uid, "--to", "PLAIN", "--delivered")
    assert told == {"job": site.job, "results": 2}
    assert site.states("PLAIN") == ["due", "due"]
    assert site.breaker("PLAIN") == "paused"
    before = [path.read_bytes() for path in site.plain.files()]
    site.node.command("destinations", "resume", "PLAIN")
    eventually(lambda: site.states("PLAIN") == ["delivered"] * 2, what="PLAIN has it again")
    assert [path.read_bytes() for path in site.plain.files()] == before
    (entry,) = site.node.audit("results resent")
    assert (entry.actor, entry.study_instance_uid, entry.job_id) == ("operator", STUDY.study_uid, site.job)
    assert site.node.json("audit", "verify")["problems"] == []
