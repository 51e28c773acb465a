"""Audit rows to audit messages (PS3.15 A.5): one message a row, and so one an outcome, in the schema of A.5.1."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from xml.etree.ElementTree import Element, SubElement, tostring

from node.audit.events import LOG_USED, PATIENT, QUERY, Code, Parts, Sort, dcm, own, sort_of
from node.domain.audit import Entry

STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
SOURCE, DESTINATION = dcm("110153", "Source Role ID"), dcm("110152", "Destination Role ID")
RUNNING, LAUNCHER = dcm("110150", "Application"), dcm("110151", "Application Launcher")
MACHINE_NAME, IP_ADDRESS = "1", "2"
PERSON, SYSTEM_OBJECT = "1", "2"
A_PATIENT, A_REPORT, A_SECURITY_RESOURCE = "1", "3", "13"
LONGEST_VALUE = 1024
"""Characters of one detail: a message has at most some 20 of them, and stays far below what a datagram holds."""
NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\t\n\r]")
"""XML 1.0 2.2; and what would break a line of a syslog."""


@dataclass(frozen=True)
class Node:
    """Who tells."""

    ae_title: str
    host: str
    site: str = ""


@dataclass(frozen=True)
class Facts:
    """What rows refer to, as SQL has it."""

    patient_ids: Mapping[str, str] = field(default_factory=dict)
    """By Study Instance UID; none where they are not to be told."""
    receivers: Mapping[int, Sequence[tuple[str, str]]] = field(default_factory=dict)
    """By job: (AE title, host) of who gets its results."""


def message(entry: Entry, node: Node, facts: Facts) -> str:
    """One line of XML, without declaration."""
    sort, root = sort_of(entry.kind), Element("AuditMessage")
    detail = _detail_of(entry)
    _event(root, entry, sort)
    for participant in _participants(entry, sort, node, facts):
        _participant(root, participant)
    source = SubElement(root, "AuditSourceIdentification", AuditSourceID=_clean(node.ae_title))
    if node.site:
        source.set("AuditEnterpriseSiteID", _clean(node.site))
    SubElement(source, "AuditSourceTypeCode", {"csd-code": "4"})
    _objects(root, entry, sort, detail, facts)
    return tostring(root, encoding="unicode")


def _clean(text: str) -> str:
    return NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", text)


def _detail_of(entry: Entry) -> dict[str, Any]:
    """What a row that somebody altered says is no reason to stop."""
    try:
        detail = json.loads(entry.detail)
    except ValueError:
        return {"unreadable": entry.detail}
    return detail if isinstance(detail, dict) else {"unreadable": entry.detail}


def _code(parent: Element, name: str, code: Code) -> None:
    attributes = {"csd-code": code.value, "codeSystemName": code.system, "originalText": code.meaning}
    SubElement(parent, name, {key: _clean(value) for key, value in attributes.items()})


def _event(root: Element, entry: Entry, sort: Sort) -> None:
    attributes = {
        "EventActionCode": sort.action,
        "EventDateTime": entry.at,
        "EventOutcomeIndicator": str(entry.outcome),
    }
    event = SubElement(root, "EventIdentification", attributes)
    _code(event, "EventID", sort.event)
    for code in (*sort.types, own(entry.kind.replace(" ", "-"), entry.kind.capitalize())):
        _code(event, "EventTypeCode", code)


@dataclass(frozen=True)
class _Participant:
    user: str
    requests: bool
    role: Code | None = None
    address: str = ""


def _participants(entry: Entry, sort: Sort, node: Node, facts: Facts) -> Iterator[_Participant]:
    us, host = node.ae_title, node.host
    if sort.parts is Parts.STARTED:
        yield _Participant(us, False, RUNNING, host)
        yield _Participant("operator", True, LAUNCHER, host)
    elif sort.parts is Parts.RECEIVED:
        yield _Participant(entry.actor, True, SOURCE, entry.address)
        yield _Participant(us, False, DESTINATION, host)
    elif sort.parts is Parts.SENT:
        yield _Participant(us, True, SOURCE, host)
        named = [(entry.actor, entry.address)] if entry.address else facts.receivers.get(entry.job_id or 0, ())
        for ae_title, address in named:
            yield _Participant(ae_title, False, DESTINATION, address)
    elif sort.parts is Parts.CALLED:
        yield _Participant(entry.actor, True, SOURCE, entry.address)
        yield _Participant(us, False, DESTINATION, host)
    else:
        yield _Participant(entry.actor, True, None, entry.address or host)
        yield _Participant(us, False, None, host)


def _participant(root: Element, one: _Participant) -> None:
    requests = "true" if one.requests else "false"
    element = SubElement(root, "ActiveParticipant", UserID=_clean(one.user) or "unknown", UserIsRequestor=requests)
    if one.role in (SOURCE, DESTINATION):
        element.set("AlternativeUserID", f"AETITLES={_clean(one.user)}")
    if one.address:
        place, kind = _network(one.address)
        element.set("NetworkAccessPointID", _clean(place))
        element.set("NetworkAccessPointTypeCode", kind)
    if one.role:
        _code(element, "RoleIDCode", one.role)


def _network(address: str) -> tuple[str, str]:
    """An address as rows have it, which may have a port behind it."""
    for place in (address, address.rpartition(":")[0].strip("[]")):
        try:
            return str(ip_address(place.partition("%")[0])), IP_ADDRESS
        except ValueError:
            continue
    host, _, port = address.rpartition(":")
    return (host if host and port.isdigit() else address), MACHINE_NAME


def _objects(root: Element, entry: Entry, sort: Sort, detail: Mapping[str, Any], facts: Facts) -> None:
    if sort.event == LOG_USED:
        _object(root, ("nodus audit", "Security Audit Log"), Code("12", "RFC-3881", "URI"), A_SECURITY_RESOURCE)
    if sort.event == QUERY:
        _query(root, str(detail.get("level", "")))
    study = entry.study_instance_uid
    if study:
        if sort.event != PATIENT:
            found = _object(root, (study, "Study"), dcm("110180", "Study Instance UID"), A_REPORT)
            _instances(found, study, detail)
        if study in facts.patient_ids:
            _patient(root, facts.patient_ids[study])
    _row(root, entry, detail)


def _object(root: Element, named: tuple[str, str], code: Code, role: str, kind: str = SYSTEM_OBJECT) -> Element:
    """`named`: id and name."""
    element = SubElement(
        root, "ParticipantObjectIdentification", ParticipantObjectID=_clean(named[0]),
        ParticipantObjectTypeCode=kind, ParticipantObjectTypeCodeRole=role,
    )  # fmt: skip
    _code(element, "ParticipantObjectIDTypeCode", code)
    SubElement(element, "ParticipantObjectName").text = _clean(named[1])
    return element


def _patient(root: Element, patient_id: str) -> None:
    """By id alone: the name is optional, and nobody needs it to find out who did what."""
    _object(root, (patient_id, ""), Code("2", "RFC-3881", "Patient Number"), A_PATIENT, PERSON)


def _instances(study: Element, uid: str, detail: Mapping[str, Any]) -> None:
    counts = [detail[name] for name in ("new", "images", "results") if isinstance(detail.get(name), int)]
    sop_class, one = detail.get("sop_class_uid"), detail.get("sop_instance_uid")
    description = SubElement(study, "ParticipantObjectDescription")
    if counts or one:
        said = SubElement(description, "SOPClass", NumberOfInstances=str(counts[0] if counts else 1))
        if sop_class:
            said.set("UID", _clean(str(sop_class)))
        if one:
            SubElement(said, "Instance", UID=_clean(str(one)))
    studies = SubElement(description, "ParticipantObjectContainsStudy")
    SubElement(studies, "StudyIDs", UID=_clean(uid))


def _query(root: Element, level: str) -> None:
    """What was asked for names patients and is not kept: of the identifier only the level is told (PS3.15 A.5.3)."""
    value = level.encode("ascii", "replace")
    value += b" " * (len(value) % 2)
    data_set = b"\x08\x00\x52\x00" + len(value).to_bytes(4, "little") + value
    element = _object(root, (STUDY_ROOT_FIND, ""), dcm("110181", "SOP Class UID"), A_REPORT)
    element.remove(element[-1])  # a query stands in the place of the name
    SubElement(element, "ParticipantObjectQuery").text = base64.b64encode(data_set).decode()
    _detail(element, "TransferSyntax", IMPLICIT_LITTLE_ENDIAN)


def _row(root: Element, entry: Entry, detail: Mapping[str, Any]) -> None:
    """The row itself, with its hash: who keeps the messages can tell when somebody recomputes the chain here."""
    element = _object(root, (str(entry.seq), "Row of the audit trail"), own("audit-row", "Audit row"),
                      A_SECURITY_RESOURCE)  # fmt: skip
    said = {**detail, "hash": entry.hash} | ({} if entry.job_id is None else {"job": entry.job_id})
    for name, value in said.items():
        if value not in (None, ""):
            _detail(element, name, str(value))


def _detail(element: Element, name: str, value: str) -> None:
    encoded = base64.b64encode(value[:LONGEST_VALUE].encode(errors="replace")).decode()
    SubElement(element, "ParticipantObjectDetail", type=_clean(name), value=encoded)
