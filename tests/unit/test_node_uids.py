"""domain/uids.py: the same thing has the same UID tomorrow, on another machine and in another version of Python."""

import re
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from node.domain.uids import ResultIdentity, derived_uid

IDENTITY = ResultIdentity((("1.2", "aa"), ("1.3", "bb")), "1.0", "w", "s")


def test_uids_are_what_they_were_when_the_first_results_went_out() -> None:
    assert derived_uid("a", "b") == "2.25.80570676777572633702511940372177902698"
    assert derived_uid() == "2.25.302652579918966106791432553938847512868"
    assert IDENTITY.digest == "43994483d8274a19f1ab25462d5494899e76b3a1fc013529c9dbf782e94843e5"
    assert IDENTITY.uid("SR", "1.2.840.10008.5.1.4.1.1.88.34") == "2.25.291927984952665031007062043515033560227"
    assert IDENTITY.uid("nodule", ordinal=2) == "2.25.218563171217411276239980435064276282121"


@given(st.lists(st.text()))
def test_every_uid_is_a_valid_custom_uuid_under_2_25(parts: list[str]) -> None:
    uid = derived_uid(*parts)
    assert re.fullmatch(r"2\.25\.(0|[1-9][0-9]*)", uid)
    assert len(uid) <= 44
    value = uuid.UUID(int=int(uid.removeprefix("2.25.")))
    assert (value.version, value.variant) == (8, uuid.RFC_4122)


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_other_parts_give_another_uid_however_they_are_cut(one: list[str], other: list[str]) -> None:
    assert (derived_uid(*one) == derived_uid(*other)) is (one == other)


def test_parts_are_not_simply_joined() -> None:
    assert derived_uid("ab", "c") != derived_uid("a", "bc") != derived_uid("abc")


@pytest.mark.parametrize(
    "other",
    [
        replace(IDENTITY, sources=(("1.3", "bb"), ("1.2", "aa"))),
        replace(IDENTITY, sources=(("1.2", "aa"), ("1.3", "bc"))),
        replace(IDENTITY, sources=(("1.2", "aa"),)),
        replace(IDENTITY, pipeline_version="1.1"),
        replace(IDENTITY, weights_sha256="x"),
        replace(IDENTITY, settings_digest="t"),
        replace(IDENTITY, predecessor="p"),
    ],
)
def test_whatever_may_change_a_result_changes_its_uids(other: ResultIdentity) -> None:
    assert other.digest != IDENTITY.digest
    assert other.uid("SR") != IDENTITY.uid("SR")


def test_each_thing_of_a_result_set_has_its_own_uid() -> None:
    uids = [
        IDENTITY.uid("SR", "1.2.3"),
        IDENTITY.uid("SR", "1.2.4"),
        IDENTITY.uid("SEG", "1.2.3"),
        IDENTITY.uid("nodule", ordinal=1),
        IDENTITY.uid("nodule", ordinal=2),
    ]
    assert len(set(uids)) == len(uids)
