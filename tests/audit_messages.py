"""Audit messages as a repository gets them: taken from their syslog frames, checked by schema, and read."""

import base64
import re
from pathlib import Path

from lxml import etree

SCHEMA = etree.RelaxNG(etree.parse(str(Path(__file__).with_name("audit_message.rng"))))
"""PS3.15 A.5.1.1, rewritten from the standard."""
HEADER = re.compile(r"<85>1 \S+T\S+(Z|[+-]\d\d:\d\d) \S+ nodus \d+ DICOM\+RFC3881 - \ufeff?(?=<AuditMessage)")


def checked(xml: str) -> etree._Element:
    """A message, valid by its schema."""
    root = etree.fromstring(xml.encode())
    assert SCHEMA.validate(root), f"{SCHEMA.error_log}\n{xml}"
    return root


def from_syslog(line: str) -> etree._Element:
    """The message in a line of a collector."""
    header = HEADER.match(line)
    assert header, line[:200]
    return checked(line[header.end() :])


def row_of(message: etree._Element) -> int:
    """Of which row of the audit trail it tells."""
    (found,) = objects(message, "audit-row")
    return int(found.get("ParticipantObjectID"))


def objects(message: etree._Element, code: str) -> list[etree._Element]:
    """Its objects of a kind."""
    return list(message.xpath(f"ParticipantObjectIdentification[ParticipantObjectIDTypeCode/@csd-code='{code}']"))


def details(element: etree._Element) -> dict[str, str]:
    """What it says of an object."""
    found = element.findall("ParticipantObjectDetail")
    return {each.get("type"): base64.b64decode(each.get("value")).decode() for each in found}


def event(message: etree._Element) -> tuple[str, str, str]:
    """EventID, action, outcome."""
    identification = message.find("EventIdentification")
    code = identification.find("EventID").get("csd-code")
    return code, identification.get("EventActionCode"), identification.get("EventOutcomeIndicator")


def types(message: etree._Element) -> list[str]:
    """Its event types."""
    return [each.get("csd-code") for each in message.findall("EventIdentification/EventTypeCode")]


def participants(message: etree._Element) -> list[tuple[str, str, str]]:
    """(user, role, where) of each; empty where it has none."""
    return [
        (each.get("UserID"), each.find("RoleIDCode").get("csd-code") if len(each) else "",
         each.get("NetworkAccessPointID", ""))
        for each in message.findall("ActiveParticipant")
    ]  # fmt: skip
