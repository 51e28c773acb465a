"""Jobs as Unified Procedure Steps, asked by workflow managers that are programs of their own, on both databases."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydicom import Dataset
from sqlalchemy import update

from node.catalog import jobs, tables, workitems
from node.domain.job import Failure
from node.domain.procedure import Code
from node.domain.procedure_events import FILTERED_SUBSCRIPTION, GLOBAL_SUBSCRIPTION
from node.domain.uids import fresh_uid
from tests.flow import LEASE, Flow
from tests.sender import send
from tests.servers import Nodus, Postgres, eventually
from tests.servers.processes import free_port
from tests.servers.workflow import Answer, Request, listening, manage, of
from tests.sites import Site
from tests.studies import Series
from tests.workflowed import brought, managed, queued, step_of, steps

CHANGE_STATE, REQUEST_CANCEL, SUBSCRIBE, UNSUBSCRIBE, SUSPEND = 1, 2, 3, 4, 5
WATCHER_PORT, SECURE_PORT = free_port(), free_port()
UNKNOWN = "2.25.4711"


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Nodus]:
    """A node with an admin and two subscribers, one over TLS, and no worker: tests do its part."""
    data = tmp_path_factory.mktemp("workflow") / "data"
    watcher: dict[str, Any] = {"ae_title": "WATCHER", "host": "127.0.0.1", "port": WATCHER_PORT}
    subscribers = (watcher, {**watcher, "ae_title": "SECURE", "port": SECURE_PORT, **site.peer()})
    if request.param == "sqlite":
        with managed(data, *subscribers) as started:
            yield started
    else:
        server: Postgres = request.getfixturevalue("postgres_server")
        with server.database() as url, managed(data, *subscribers, database_url=url) as started:
            yield started


def claim(node: Nodus, job_id: int) -> str:
    """A worker begins a job; returns the Transaction UID that it holds."""
    Flow(node.catalog).claimed(job_id, datetime.now(UTC))
    with node.catalog.reading() as session:
        (item,) = [each for each in workitems.open_items(session) if each.job_id == job_id]
    return item.transaction_uid


def change(uid: str, state: str, transaction_uid: str = "") -> Request:
    said = of(ProcedureStepState=state)
    if transaction_uid:
        said.TransactionUID = transaction_uid
    return "action", uid, said, CHANGE_STATE


def cancel(uid: str) -> Request:
    return "action", uid, of(ReasonForCancellation="not needed"), REQUEST_CANCEL


def subscription(uid: str, kind: int = SUBSCRIBE, ae_title: str = "WATCHER", **keys: str) -> Request:
    return (
        "action",
        uid,
        of(ReceivingAE=ae_title, **({"DeletionLock": "FALSE"} if kind == SUBSCRIBE else {}), **keys),
        kind,
    )


def order(study_uid: str, uid: str = "", **attributes: object) -> Request:
    values = {
        "ProcedureStepState": "SCHEDULED",
        "ScheduledProcedureStepPriority": "HIGH",
        "ProcedureStepLabel": "Once more",
        "InputInformationSequence": [of(StudyInstanceUID=study_uid)],
        **attributes,
    }
    return "create", uid, of(**{name: value for name, value in values.items() if value is not None}), 0


def statuses(answers: list[Answer]) -> list[str]:
    return [f"{each.status:04X}" for each in answers]


def the_code(items: list[Dataset]) -> Code:
    (item,) = items
    return Code(item.CodeValue, item.CodeMeaning, item.CodingSchemeDesignator)


def state(node: Nodus, uid: str) -> str:
    (found,) = steps(node, f"SOPInstanceUID={uid}", "ProcedureStepState")
    return str(found.ProcedureStepState)


def test_a_job_is_a_step_from_the_first_image_to_its_results(node: Nodus) -> None:
    series, job_id = brought(node, "whole", PatientName="Whole^Way")
    uid = step_of(node, job_id)
    keys = (f"StudyInstanceUID={series.study_uid}", "ProcedureStepState", "InputReadinessState", "SOPInstanceUID")
    (scheduled,) = steps(node, *keys)
    assert (scheduled.SOPInstanceUID, scheduled.ProcedureStepState, scheduled.InputReadinessState) == (
        uid, "SCHEDULED", "READY"
    )  # fmt: skip
    lock = claim(node, job_id)
    with node.catalog.writing() as session:
        jobs.report_progress(session, job_id, "t", "detect", 40)
    (running,) = manage(node.dicom_port, [("get", uid, None, 0)])
    assert (running.status, running.data.ProcedureStepState, running.data.PatientName) == (
        0,
        "IN PROGRESS",
        "Whole^Way",
    )
    (progress,) = running.data.ProcedureStepProgressInformationSequence
    assert (progress.ProcedureStepProgress, progress.ProcedureStepProgressDescription) == (40, "detect")
    assert the_code(running.data.ScheduledWorkitemCodeSequence).value == "110004"
    assert lock and lock not in running.data.to_json()
    assert "TransactionUID" not in running.data
    with node.catalog.writing() as session:
        jobs.give_back(session, job_id, "t", datetime.now(UTC))
    assert state(node, uid) == "IN PROGRESS", "a step never becomes scheduled again"
    Flow(node.catalog).finish(job_id, datetime.now(UTC))
    (done,) = manage(node.dicom_port, [("get", uid, None, 0)])
    assert done.data.ProcedureStepState == "COMPLETED"
    (performed,) = done.data.UnifiedProcedureStepPerformedProcedureSequence
    named = {item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID for item in performed.OutputInformationSequence}
    first = {row["sop_instance_uid"] for row in Flow(node.catalog).rows(tables.result, job_id=job_id, rung=0)}
    assert named == first and len(named) == 2
    assert performed.PerformedProcedureStepEndDateTime >= performed.PerformedProcedureStepStartDateTime


def test_images_on_their_way_are_a_step_that_is_not_ready_and_its_uid_stays(node: Nodus) -> None:
    series = Series("coming")
    send(node.dicom_port, series.payloads(range(10)))
    row = eventually(lambda: Flow(node.catalog).rows(tables.workitem, study_id=study_id(node, series)), 30)[0]
    ended = eventually(lambda: [each for each in steps_of(node, series) if each.ProcedureStepState == "CANCELED"], 30)
    assert ended[0].SOPInstanceUID == row["sop_instance_uid"]
    (progress,) = ended[0].ProcedureStepProgressInformationSequence
    assert progress.ReasonForCancellation == "There are fewer than 40 slices."
    assert the_code(progress.ProcedureStepDiscontinuationReasonCodeSequence).value == "110523"


def study_id(node: Nodus, series: Series) -> int:
    found = eventually(lambda: Flow(node.catalog).rows(tables.study, study_instance_uid=series.study_uid))
    return int(found[0]["id"])


def steps_of(node: Nodus, series: Series) -> list[Dataset]:
    keys = ("ProcedureStepState", "SOPInstanceUID", "ProcedureStepProgressInformationSequence")
    return steps(node, f"StudyInstanceUID={series.study_uid}", *keys)


@pytest.mark.parametrize(
    ("failure", "code"),
    [(Failure.OUT_OF_MEMORY, "110527"), (Failure.LOST_WORKER, "110501"), (Failure.UNKNOWN, "110513")],
)
def test_a_dead_job_is_a_canceled_step_that_says_why(node: Nodus, failure: Failure, code: str) -> None:
    _, job_id = brought(node, f"dead {failure}")
    with node.catalog.writing() as session:
        job = jobs.claim(session, job_id, "t", "w", datetime.now(UTC), LEASE)
        assert job is not None
        jobs.bury(session, job, failure, "It broke.", datetime.now(UTC))
    (found,) = manage(node.dicom_port, [("get", step_of(node, job_id), None, 0)])
    (progress,) = found.data.ProcedureStepProgressInformationSequence
    assert found.data.ProcedureStepState == "CANCELED"
    assert the_code(progress.ProcedureStepDiscontinuationReasonCodeSequence).value == code


MATCHED = Series("matched").having(PatientName="Match^Maker", PatientID="MA7", AccessionNumber="ACC-matched")


def in_sequence(sequence: str, **keys: str) -> dict[str, object]:
    return {sequence: [of(**keys)]}


KEYS: list[tuple[dict[str, object], bool]] = [
    ({"ProcedureStepState": "SCHEDULED"}, True),
    ({"ProcedureStepState": "COMPLETED"}, False),
    ({"ScheduledProcedureStepPriority": "MEDIUM"}, True),
    ({"ScheduledProcedureStepPriority": "HIGH"}, False),
    ({"ProcedureStepLabel": "AI lung*"}, True),
    ({"WorklistLabel": "CT"}, False),
    ({"InputReadinessState": "READY"}, True),
    ({"InputReadinessState": "INCOMPLETE"}, False),
    ({"PatientName": "match*", "PatientID": "M?7"}, True),
    ({"PatientID": "M7"}, False),
    ({"PatientSex": "O", "PatientBirthDate": "19600101-19600201"}, True),
    ({"PatientBirthDate": "19700101-"}, False),
    (in_sequence("ScheduledWorkitemCodeSequence", CodeValue="110004", CodingSchemeDesignator="DCM"), True),
    (in_sequence("ScheduledWorkitemCodeSequence", CodeValue="110005"), False),
    (in_sequence("ReferencedRequestSequence", AccessionNumber="ACC-matched", StudyInstanceUID=MATCHED.study_uid), True),
    (in_sequence("ReferencedRequestSequence", AccessionNumber="ACC-other"), False),
    (in_sequence("ReferencedRequestSequence", RequestedProcedureID="7"), False),
    (in_sequence("ScheduledStationNameCodeSequence", CodeValue="NODUS"), True),
    (in_sequence("ScheduledStationClassCodeSequence", CodeValue="CT"), False),
    ({"ScheduledProcedureStepStartDateTime": "20240101-"}, True),
    ({"ScheduledProcedureStepStartDateTime": "-20240101"}, False),
    ({"ExpectedCompletionDateTime": "20300101"}, False),
    ({"AdmissionID": "7"}, False),
]


def test_steps_match_by_each_key_and_without_a_key_nothing_matches(matched: Nodus) -> None:
    uid = step_of(matched, Flow(matched.catalog).rows(tables.job, study_id=study_id(matched, MATCHED))[-1]["id"])
    base = {"StudyInstanceUID": MATCHED.study_uid, "SOPInstanceUID": ""}
    asked: list[Request] = [("find", "", of(**{**base, **keys}), 0) for keys, _ in KEYS]
    answers = manage(matched.dicom_port, [*asked, ("find", "", of(Manufacturer=""), 0), ("find", "", of(
        SOPInstanceUID=uid, Manufacturer="", TransactionUID=""), 0)])  # fmt: skip
    *by_key, without, unsupported = answers
    found = [[str(each.SOPInstanceUID) for each in answer.found] for answer in by_key]
    assert found == [[uid] * matches for _, matches in KEYS]
    assert (without.status, without.found) == (0, ())
    (one,) = unsupported.found
    assert (unsupported.status, one.SOPInstanceUID, one.Manufacturer, one.TransactionUID) == (0xFF01, uid, "", "")


@pytest.fixture
def matched(node: Nodus) -> Nodus:
    """A node that has a step to be matched, once."""
    if not Flow(node.catalog).rows(tables.study, study_instance_uid=MATCHED.study_uid):
        send(node.dicom_port, MATCHED.payloads())
        queued(node, MATCHED)
    return node


def test_every_status_of_a_step_that_waits(node: Nodus) -> None:
    _, job_id = brought(node, "waits")
    uid, own = step_of(node, job_id), fresh_uid()
    answers = manage(
        node.dicom_port,
        [
            ("get", UNKNOWN, None, 0),
            cancel(UNKNOWN),
            change(uid, "SCHEDULED", own),
            change(uid, "IN PROGRESS"),
            change(uid, "IN PROGRESS", own),
            change(uid, "COMPLETED", own),
            change(uid, "CANCELED", own),
            change(uid, "NEARLY DONE", own),
            ("action", uid, of(ReceivingAE="WATCHER"), 9),
            ("action", uid, of(ReceivingAE="WATCHER"), SUSPEND),
            ("set", uid, of(ProcedureStepState="SCHEDULED"), 0),
            ("set", uid, of(TransactionUID=own, ProcedureStepLabel="mine"), 0),
            ("set", uid, of(ProcedureStepLabel="Urgent", ScheduledProcedureStepPriority="HIGH"), 0),
            ("set", uid, of(PatientName="Some^Body"), 0),
        ],
    )
    assert statuses(answers) == [
        "C307", "C307", "C303", "C301", "0124", "C310", "C310", "0115", "C314", "C314", "C303", "C310", "0000", "B305"
    ]  # fmt: skip
    assert "no step" in answers[0].comment
    (job,) = Flow(node.catalog).rows(tables.job, id=job_id)
    assert (job["state"], job["priority"]) == ("queued", 10)
    refused = [json.loads(row.detail) for row in node_audit(node, "step request refused", 11)]
    assert {each["status"] for each in refused} >= {"0xC307", "0xC303", "0xC301", "0x0124", "0xC310", "0xC314"}


def node_audit(node: Nodus, kind: str, least: int) -> list[object]:
    return eventually(lambda: len(rows := node.audit(kind)) >= least and rows, what=f"{least} rows of {kind}")


def test_every_status_of_a_step_that_is_worked_on_and_its_cancellation(node: Nodus) -> None:
    _, job_id = brought(node, "worked on")
    uid, own, other = step_of(node, job_id), claim(node, job_id), fresh_uid()
    answers = manage(
        node.dicom_port,
        [
            change(uid, "IN PROGRESS", other),
            change(uid, "COMPLETED", other),
            change(uid, "COMPLETED", own),
            change(uid, "CANCELED", other),
            ("set", uid, of(ProcedureStepLabel="mine"), 0),
            ("set", uid, of(TransactionUID=other, ProcedureStepLabel="mine"), 0),
            cancel(uid),
            cancel(uid),
            change(uid, "CANCELED", own),
            change(uid, "COMPLETED", own),
            change(uid, "IN PROGRESS", own),
            ("set", uid, of(ProcedureStepLabel="late"), 0),
        ],
    )
    assert statuses(answers) == [
        "C302", "C301", "C304", "C301", "C301", "C301", "0000", "B304", "B304", "C300", "C300", "C300"
    ]  # fmt: skip
    assert Flow(node.catalog).rows(tables.job, id=job_id)[0]["state"] == "cancelled"
    (asked,) = [row for row in node.audit("cancel requested") if row.job_id == job_id]
    assert (asked.actor, asked.address) == ("ADMIN", "127.0.0.1")


def test_the_holder_of_the_lock_may_give_a_step_up(node: Nodus) -> None:
    _, job_id = brought(node, "given up")
    uid, own = step_of(node, job_id), claim(node, job_id)
    (answer,) = manage(node.dicom_port, [change(uid, "CANCELED", own)])
    assert answer.status == 0
    assert state(node, uid) == "CANCELED"


def test_every_status_of_a_step_that_is_completed(node: Nodus) -> None:
    _, job_id = brought(node, "completed")
    Flow(node.catalog).finish(job_id, datetime.now(UTC))
    uid, own = step_of(node, job_id), fresh_uid()
    answers = manage(
        node.dicom_port,
        [
            cancel(uid),
            change(uid, "COMPLETED", own),
            change(uid, "CANCELED", own),
            change(uid, "IN PROGRESS", own),
            ("set", uid, of(ProcedureStepLabel="late"), 0),
        ],
    )
    assert statuses(answers) == ["C311", "B306", "C300", "C300", "C300"]


def test_results_on_their_way_are_not_cancelled(node: Nodus) -> None:
    series, job_id = brought(node, "on their way")
    flow = Flow(node.catalog)
    flow.finish(job_id, datetime.now(UTC))
    with node.catalog.writing() as session:  # as if a destination that is down were to get them
        values = {"host": "127.0.0.1", "port": 9, "results": ["SR"], "not_analysed": 1, "enabled": 1}
        down = tables.destination.insert().values(ae_title="DOWN", **values)
        to = session.scalars(down.returning(tables.destination.c.id)).one()
        now = datetime.now(UTC)
        session.execute(tables.outbox.insert().values(job_id=job_id, destination_id=to, kind="SR", state="due",
                                                      created_at=now, not_before=now))  # fmt: skip
        session.execute(update(tables.workitem).where(tables.workitem.c.job_id == job_id).values(state="SCHEDULED"))
    (found,) = steps_of(node, series)
    (progress,) = found.ProcedureStepProgressInformationSequence
    assert (found.ProcedureStepState, progress.ProcedureStepProgress) == ("IN PROGRESS", 99)
    (answer,) = manage(node.dicom_port, [cancel(step_of(node, job_id))])
    assert f"{answer.status:04X}" == "C313"
    with node.catalog.writing() as session:
        session.execute(update(tables.destination).where(tables.destination.c.id == to).values(enabled=0))


def test_an_order_reads_a_study_again_under_the_uid_of_its_orderer(node: Nodus) -> None:
    series, job_id = brought(node, "again")
    uid, own = step_of(node, job_id), fresh_uid()
    (busy,) = manage(node.dicom_port, [order(series.study_uid)])
    assert (f"{busy.status:04X}", busy.comment) == ("0110", "The study is being read: see its step.")
    Flow(node.catalog).finish(job_id, datetime.now(UTC))
    answers = manage(node.dicom_port, [order(series.study_uid, own), ("get", own, None, 0), ("get", uid, None, 0)])
    assert statuses(answers) == ["0000", "0000", "0000"]
    ordered, before = answers[1].data, answers[2].data
    assert (ordered.ProcedureStepState, ordered.ProcedureStepLabel) == ("SCHEDULED", "Once more")
    assert ordered.ScheduledProcedureStepPriority == "HIGH"
    assert ordered.ReplacedProcedureStepSequence[0].ReferencedSOPInstanceUID == uid
    assert before.ProcedureStepState == "COMPLETED"
    again = queued(node, series)
    (row,) = [each for each in node.audit("analysis ordered") if each.job_id == again]
    assert (row.actor, row.address) == ("ADMIN", "127.0.0.1")
    assert Flow(node.catalog).rows(tables.job, id=again)[0]["priority"] == 10


def test_every_status_of_an_order(node: Nodus) -> None:
    series, job_id = brought(node, "ordered")
    Flow(node.catalog).finish(job_id, datetime.now(UTC))
    here = series.study_uid
    answers = manage(
        node.dicom_port,
        [
            order(here, ProcedureStepState="IN PROGRESS"),
            order(here, ProcedureStepState=None),
            order(here, TransactionUID=fresh_uid()),
            order(here, InputInformationSequence=None),
            order("2.25.99"),
            order(here, ReferencedRequestSequence=[of(StudyInstanceUID="2.25.99")]),
            order(here, ScheduledWorkitemCodeSequence=[of(CodeValue="110001", CodingSchemeDesignator="DCM")]),
            order(here, step_of(node, job_id)),
            order(here, fresh_uid(), ScheduledProcedureStepPriority="STAT"),
        ],
    )
    assert statuses(answers) == ["C309", "C309", "0106", "0120", "0106", "0106", "0106", "0111", "B300"]
    assert answers[4].comment == "The study is not here: send it first."


def test_an_order_without_a_uid_is_answered_with_ours(node: Nodus) -> None:
    series, job_id = brought(node, "unnamed")
    Flow(node.catalog).finish(job_id, datetime.now(UTC))
    (answer,) = manage(node.dicom_port, [order(series.study_uid)])
    assert answer.status == 0
    assert len(step_of(node, queued(node, series))) > 20


def test_who_is_no_admin_looks_and_does_nothing(node: Nodus) -> None:
    series, job_id = brought(node, "looked at")
    uid = step_of(node, job_id)
    asked = [
        ("get", uid, None, 0),
        cancel(uid),
        change(uid, "IN PROGRESS", fresh_uid()),
        ("set", uid, of(ProcedureStepLabel="x"), 0),
        order(series.study_uid),
    ]
    answers = manage(node.dicom_port, asked, ae_title="VISITOR")
    assert statuses(answers) == ["0000", "0124", "0124", "0124", "0124"]
    assert Flow(node.catalog).rows(tables.job, id=job_id)[0]["state"] == "queued"


def test_who_cannot_be_told_cannot_subscribe(node: Nodus) -> None:
    _, job_id = brought(node, "untold")
    uid = step_of(node, job_id)
    asked = [subscription(uid, ae_title="NOBODY"), subscription(UNKNOWN), change(GLOBAL_SUBSCRIPTION, "CANCELED"),
             cancel(GLOBAL_SUBSCRIPTION), ("action", uid, of(DeletionLock="FALSE"), SUBSCRIBE)]  # fmt: skip
    assert statuses(manage(node.dicom_port, asked)) == ["C308", "C307", "C314", "C314", "0115"]


def test_a_subscriber_of_one_step_is_told_of_it_and_of_no_other(node: Nodus, tmp_path: Path) -> None:
    _, job_id = brought(node, "told")
    _, other = brought(node, "untold too")
    uid = step_of(node, job_id)
    with listening(tmp_path, WATCHER_PORT) as watcher:
        assert statuses(manage(node.dicom_port, [subscription(uid)])) == ["0000"]
        eventually(lambda: len(watcher.events(uid)) == 1, what="the initial state")
        claim(node, job_id)
        claim(node, other)
        eventually(lambda: {kind for kind, _ in watcher.events(uid)} >= {1, 3, 5}, what="begun")
        with node.catalog.writing() as session:
            jobs.report_progress(session, job_id, "t", "segment", 60)
        eventually(lambda: "segment" in str(watcher.events(uid)[-1][1]), what="progress")
        manage(node.dicom_port, [cancel(uid)])
        eventually(lambda: [kind for kind, _ in watcher.events(uid)][-2:] == [2, 1], what="cancelled")
        events = watcher.events(uid)
        assert [str(data.ProcedureStepState) for kind, data in events if kind == 1] == [
            "SCHEDULED", "IN PROGRESS", "CANCELED"
        ]  # fmt: skip
        assert (events[-2][1].RequestingAE, events[-2][1].ReasonForCancellation) == ("ADMIN", "not needed")
        assert len(watcher.events()) == len(events)


def test_a_subscriber_is_told_over_tls(node: Nodus, tmp_path: Path, site: Site) -> None:
    uid = step_of(node, brought(node, "told over tls")[1])
    with listening(tmp_path, SECURE_PORT, (site, "pacs")) as watcher:
        assert statuses(manage(node.dicom_port, [subscription(uid, ae_title="SECURE")])) == ["0000"]
        eventually(lambda: [kind for kind, _ in watcher.events(uid)] == [1], what="the initial state")


def test_what_happens_while_a_subscriber_is_away_is_told_when_it_is_back(node: Nodus, tmp_path: Path) -> None:
    _, job_id = brought(node, "away")
    uid = step_of(node, job_id)
    assert statuses(manage(node.dicom_port, [subscription(uid)])) == ["0000"]
    claim(node, job_id)
    waiting = lambda: Flow(node.catalog).rows(tables.notification, ae_title="WATCHER")  # noqa: E731
    eventually(lambda: len(waiting()) >= 3 and waiting()[0]["attempts"], what="it was called in vain")
    with listening(tmp_path, WATCHER_PORT) as watcher:
        eventually(lambda: not waiting(), 60, "it has heard everything")
        states = [str(data.ProcedureStepState) for kind, data in watcher.events(uid) if kind == 1]
        assert states == ["SCHEDULED", "IN PROGRESS"]


def test_a_global_subscription_covers_what_comes_until_it_is_suspended(node: Nodus, tmp_path: Path) -> None:
    with listening(tmp_path, WATCHER_PORT) as watcher:
        manage(node.dicom_port, [subscription(GLOBAL_SUBSCRIPTION)])
        first = step_of(node, brought(node, "global 1")[1])
        eventually(lambda: watcher.events(first), what="a new step is told")
        manage(node.dicom_port, [subscription(GLOBAL_SUBSCRIPTION, SUSPEND)])
        _, second_job = brought(node, "global 2")
        manage(node.dicom_port, [cancel(first)])
        eventually(lambda: [kind for kind, _ in watcher.events(first)][-2:] == [2, 1], what="known ones go on")
        assert watcher.events(step_of(node, second_job)) == []
        manage(node.dicom_port, [subscription(GLOBAL_SUBSCRIPTION, UNSUBSCRIBE)])
        assert Flow(node.catalog).rows(tables.subscription, ae_title="WATCHER") == []


def test_a_filtered_subscription_covers_only_what_its_keys_select(node: Nodus, tmp_path: Path) -> None:
    with listening(tmp_path, WATCHER_PORT) as watcher:
        manage(node.dicom_port, [subscription(FILTERED_SUBSCRIPTION, PatientID="WANTED*")])
        unwanted = step_of(node, brought(node, "filtered 1", PatientID="OTHER")[1])
        wanted = step_of(node, brought(node, "filtered 2", PatientID="WANTED1")[1])
        eventually(lambda: watcher.events(wanted), what="the wanted one is told")
        assert watcher.events(unwanted) == []
        manage(node.dicom_port, [subscription(GLOBAL_SUBSCRIPTION, UNSUBSCRIBE)])


def test_a_node_that_comes_back_says_so_and_its_steps_have_their_uids(node: Nodus, tmp_path: Path) -> None:
    _, job_id = brought(node, "restarted")
    uid = step_of(node, job_id)
    with listening(tmp_path, WATCHER_PORT) as watcher:
        manage(node.dicom_port, [subscription(GLOBAL_SUBSCRIPTION)])
        node.stop()
        node.start()
        eventually(lambda: watcher.events(GLOBAL_SUBSCRIPTION), what="it is back")
        ((kind, data),) = watcher.events(GLOBAL_SUBSCRIPTION)
        assert (kind, data.SCPStatus, data.SubscriptionListStatus) == (4, "RESTARTED", "WARM START")
        assert state(node, uid) == "SCHEDULED"
        manage(node.dicom_port, [subscription(GLOBAL_SUBSCRIPTION, UNSUBSCRIBE)])
