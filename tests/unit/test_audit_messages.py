"""audit/atna.py: every kind of audit row is a message of PS3.15 A.5, by its schema and by what it says."""

from typing import Any

import pytest

from node.audit import atna
from node.audit.events import SORTS
from node.audit.syslog import Said, frame
from node.domain.audit import Entry, Event, EventKind, EventOutcome, entry_of
from tests.audit_messages import checked, details, event, from_syslog, objects, participants, row_of, types

STUDY = "1.2.826.0.1"
US = atna.Node("NODUS", "node.local", "Site 1")
FACTS = atna.Facts({STUDY: "PAT<1>&\u00e9"}, {7: [("PACS", "10.0.0.9:104"), ("RIS", "ris.local:11112")]})


def row(kind: str, outcome: EventOutcome = EventOutcome.SUCCESS, **more: Any) -> Entry:
    entry = entry_of(Event(EventKind.JOB_DONE, outcome, **more), 12, "0" * 64, b"k")
    return Entry(**{**entry.__dict__, "kind": kind})


def message(kind: str, outcome: EventOutcome = EventOutcome.SUCCESS, **more: Any) -> Any:
    return checked(atna.message(row(kind, outcome, **more), US, FACTS))


@pytest.mark.parametrize("outcome", EventOutcome)
@pytest.mark.parametrize("kind", [*EventKind, "what a later release calls something"])
def test_every_kind_of_row_is_a_valid_message_of_its_row(kind: str, outcome: EventOutcome) -> None:
    told = message(kind, outcome, actor="CT1", address="10.0.0.5", study_instance_uid=STUDY, job_id=7)
    assert event(told)[2] == str(int(outcome))
    assert row_of(told) == 12
    assert types(told)[-1] == kind.replace(" ", "-")
    checked(atna.message(row(kind, outcome), US, atna.Facts()))


@pytest.mark.parametrize(
    ("kind", "code", "action"),
    [
        ("node started", "110100", "E"), ("node stopped", "110100", "E"), ("audit log used", "110101", "R"),
        ("results released", "110102", "E"), ("job claimed", "110103", "R"), ("job done", "110103", "C"),
        ("instances registered", "110104", "C"), ("instance refused", "110104", "C"),
        ("result delivered", "110104", "R"), ("result refused", "110104", "R"), ("study purged", "110105", "D"),
        ("backup made", "110106", "R"), ("backup restored", "110107", "C"), ("job created", "110111", "C"),
        ("query answered", "110112", "E"), ("association refused", "110113", "E"), ("sender changed", "110113", "E"),
        ("destination changed", "110113", "E"), ("model chosen", "110113", "E"),
    ],
)  # fmt: skip
def test_what_happens_here_has_the_event_that_the_standard_has_for_it(kind: str, code: str, action: str) -> None:
    assert event(message(kind))[:2] == (code, action)


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("node started", "110120"), ("node stopped", "110121"), ("association refused", "110126"),
        ("destination changed", "110128"), ("sender changed", "110129"), ("model chosen", "110131"),
    ],
)  # fmt: skip
def test_an_event_is_narrowed_down_by_its_type(kind: str, code: str) -> None:
    assert types(message(kind))[0] == code


def test_who_sends_is_the_source_and_who_gets_is_the_destination() -> None:
    came = message("instances registered", actor="CT1", address="10.0.0.5", study_instance_uid=STUDY)
    assert participants(came) == [("CT1", "110153", "10.0.0.5"), ("NODUS", "110152", "node.local")]
    went = message("result delivered", actor="PACS", address="10.0.0.9:104", study_instance_uid=STUDY)
    assert participants(went) == [("NODUS", "110153", "node.local"), ("PACS", "110152", "10.0.0.9")]
    going = message("results released", study_instance_uid=STUDY, job_id=7)
    assert participants(going) == [
        ("NODUS", "110153", "node.local"), ("PACS", "110152", "10.0.0.9"), ("RIS", "110152", "ris.local"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("address", "place", "kind"),
    [("10.0.0.5", "10.0.0.5", "2"), ("fe80::1%eth0", "fe80::1", "2"), ("[::1]:104", "::1", "2"),
     ("::1:104", "::1:104", "2"), ("pacs.local:104", "pacs.local", "1"), ("pacs.local", "pacs.local", "1")],
)  # fmt: skip
def test_an_address_is_told_without_its_port(address: str, place: str, kind: str) -> None:
    peer = message("association refused", actor="X", address=address).findall("ActiveParticipant")[0]
    assert (peer.get("NetworkAccessPointID"), peer.get("NetworkAccessPointTypeCode")) == (place, kind)


def test_study_and_patient_are_participant_objects_and_the_patient_is_named_by_id_alone() -> None:
    detail = {"new": 3, "sop_instance_uid": "1.2.3"}
    told = message("instances registered", study_instance_uid=STUDY, detail=detail)
    (study,) = objects(told, "110180")
    assert study.get("ParticipantObjectID") == STUDY
    assert study.find("ParticipantObjectDescription/SOPClass").get("NumberOfInstances") == "3"
    (patient,) = objects(told, "2")
    assert patient.get("ParticipantObjectID") == "PAT<1>&\u00e9"
    assert not patient.find("ParticipantObjectName").text
    assert objects(checked(atna.message(row("job done", study_instance_uid=STUDY), US, atna.Facts())), "2") == []


def test_a_query_is_told_by_its_level_and_names_nobody() -> None:
    told = message("query answered", actor="WS", address="10.0.0.7", detail={"level": "STUDY", "answers": 2})
    (query,) = objects(told, "110181")
    assert query.find("ParticipantObjectQuery").text == "CABSAAYAAABTVFVEWSA="


def test_a_message_carries_its_row_with_all_that_it_says_and_its_hash() -> None:
    entry = row("association closed", detail={"ending": "released", "stored": 3, "called": ""}, job_id=7)
    (found,) = objects(checked(atna.message(entry, US, FACTS)), "audit-row")
    assert details(found) == {"ending": "released", "stored": "3", "hash": entry.hash, "job": "7"}


def test_no_name_that_a_caller_made_up_breaks_a_message() -> None:
    told = message(
        "association refused", actor="\x00<&\"'\n\ud800]]>", address="\x1b[2J", detail={"a\x01": "\x02" * 9999}
    )
    assert participants(told)[0][0] == "\ufffd<&\"'\ufffd\ufffd]]>"
    (found,) = objects(told, "audit-row")
    assert len(details(found)["a\ufffd"]) == atna.LONGEST_VALUE
    assert participants(message("association refused", actor=""))[0][0] == "unknown"


def test_a_row_that_somebody_altered_is_told_as_it_is() -> None:
    entry = Entry(**{**row("job done").__dict__, "detail": "[broken"})
    (found,) = objects(checked(atna.message(entry, US, FACTS)), "audit-row")
    assert details(found)["unreadable"] == "[broken"


def test_a_syslog_message_is_rfc_5424_on_one_line() -> None:
    entry = row("job done", detail={"text": "a\nb"})
    line = frame(Said(entry.at, atna.message(entry, US, FACTS)), US.host).decode()
    assert "\n" not in line
    assert row_of(from_syslog(line)) == 12


def test_every_event_of_the_table_is_a_kind_of_ours() -> None:
    assert set(SORTS) <= set(EventKind)
