"""Whatever a data set holds, reading its header says what it is or raises BadInput, and nothing behind it stumbles."""

import json
from collections.abc import Sequence
from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter
from pydicom.datadict import tag_for_keyword
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from node.domain.eligibility import judge, may_be_chest
from node.domain.instance import InstanceHeader
from node.errors import BadInput
from node.headers import header_of, read_elements
from tests.odd.datasets import UIDS, Element, encoded, payloads
from tests.sender import Payload

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, as `logs.configure` does
HEADERS = TypeAdapter(InstanceHeader)


def header(payload: Payload) -> InstanceHeader | None:
    """None for what is refused; any other exception fails the test."""
    try:
        syntax = payload.transfer_syntax_uid
        return header_of(read_elements(BytesIO(payload.data_set), syntax), syntax)
    except BadInput:
        return None


@settings(max_examples=600, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(payloads())
def test_a_header_is_read_or_the_input_is_bad(payload: Payload) -> None:
    found = header(payload)
    if found is not None:
        kept = json.dumps(HEADERS.dump_python(found, mode="json"), ensure_ascii=False, allow_nan=False)
        assert "\0" not in kept
        assert kept.encode()


@settings(max_examples=100, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(payloads(), min_size=1, max_size=5))
def test_a_series_of_whatever_was_read_is_judged(some: Sequence[Payload]) -> None:
    headers = [found for payload in some if (found := header(payload))]
    verdict = judge(headers)
    assert verdict.reasons or verdict.instance_uids
    assert may_be_chest(headers) in (True, False)


def element(keyword: str, vr: str, value: bytes) -> Element:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    return Element(tag, vr, value)


@pytest.mark.parametrize(
    "odd",
    [
        (element("ReferringPhysicianName", "SX", b""),),
        (element("PatientAge", "AS", b"\xb2\xb2\xb2Y"),),
        (element("SpecificCharacterSet", "CS", b"unicode_escape"), element("PatientName", "PN", b"\\ud800\xff")),
        (element("PerFrameFunctionalGroupsSequence", "LO", b"1.2.3 "),),
        (Element(0x00100020, "SQ", ((element("PatientName", "PN", b"A^B "),),)),),
    ],
    ids=["empty value of an unknown VR", "digits of no number", "half a character", "text for a sequence", "items"],
)
def test_one_odd_attribute_never_costs_an_instance(odd: tuple[Element, ...]) -> None:
    uids = (CTImageStorage, "1.2.3.1", "1.2.3.4", "1.2.3.5")
    identity = tuple(element(keyword, "UI", uid.encode()) for keyword, uid in zip(UIDS, uids, strict=True))
    raw = encoded(tuple(sorted((*identity, *odd))), ExplicitVRLittleEndian)
    found = header(Payload(CTImageStorage, uids[1], ExplicitVRLittleEndian, raw))
    assert found is not None
    assert (found.sop_instance_uid, found.patient_id) == ("1.2.3.1", "")
    assert found.patient_name.encode() in (b"", b"?\xc3\xbf")
    assert found.ct is not None
    assert (found.ct.patient_age_years, found.ct.frames) == (None, ())
