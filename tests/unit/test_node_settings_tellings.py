"""settings: the audit repository, and systems that are told by HL7."""

from pathlib import Path

import pytest

from node.domain.collector import Collector
from node.domain.outcome import Outcome
from node.domain.peers import Protocol
from node.errors import SettingsError
from node.settings import Settings, load

RIS = '[[hl7]]\nname = "RIS"\nhost = "ris"\n'


def read(folder: Path, text: str) -> Settings:
    path = folder / "nodus.toml"
    path.write_text(text)
    return load(path)


def test_nobody_is_told_of_anything_by_default() -> None:
    settings = Settings()
    assert settings.audit_repository is None
    assert settings.hl7 == ()


def test_an_audit_repository_is_tls_unless_it_is_said(tmp_path: Path) -> None:
    asked = read(tmp_path, '[audit_repository]\nhost = "log"\n').audit_repository
    assert asked is not None
    assert asked.collector() == Collector("log", 6514, True)
    assert asked.collector().place == "tls://log:6514"


def test_a_receiver_is_a_destination_of_another_protocol_that_is_told_everything(tmp_path: Path) -> None:
    (settings,) = read(tmp_path, RIS).hl7
    to, receiver = settings.destination(), settings.receiver("NODUS")
    assert (to.place, to.protocol, to.results, to.not_analysed) == ("RIS@ris:2575", Protocol.HL7, ("ORU",), True)
    assert receiver.sending_application == "NODUS"
    assert receiver.outcomes == frozenset(Outcome)


def test_who_is_not_told_of_what_was_not_analysed_gets_no_notice(tmp_path: Path) -> None:
    (settings,) = read(tmp_path, RIS + 'outcomes = ["findings"]\n').hl7
    assert not settings.destination().not_analysed


def test_receivers_come_behind_the_destinations_by_dicom(tmp_path: Path) -> None:
    text = '[[destinations]]\nae_title = "PACS"\nhost = "pacs"\nport = 104\n'
    assert [each.ae_title for each in read(tmp_path, RIS + text).all_destinations()] == ["PACS", "RIS"]


@pytest.mark.parametrize(("text", "sentence"), [
    ('[audit_repository]\nhost = ""\n', "audit_repository.host: "),
    ('[audit_repository]\nhost = "log"\ntransport = "tcp"\n', "audit_repository.transport: "),
    ('[audit_repository]\nhost = "log"\ncertificate = "a.pem"\n', "certificate and key must be given together"),
    (RIS + 'outcomes = ["good"]\n', "hl7.0.outcomes.0: "),
    (RIS + "priority_from_mm = 0\n", "hl7.0.priority_from_mm: "),
    (RIS + 'sending_facility = "a\\nb"\n', "an application or facility has no control characters"),
    (RIS + RIS, "name, host and port of each must be its own"),
    (RIS + '[[destinations]]\nae_title = "RIS"\nhost = "ris"\nport = 2575\n', "and of no destination"),
    ('[[destinations]]\nae_title = "P"\nhost = "h"\nport = 1\nresults = ["ORU"]\n', "destinations.0.results.0: "),
])  # fmt: skip
def test_a_mistake_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    with pytest.raises(SettingsError) as error:
        read(tmp_path, text)
    assert sentence in str(error.value)
