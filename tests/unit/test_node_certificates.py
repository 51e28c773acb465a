"""Certificates: made for a test site, shown, and their end told in time."""

import stat
from datetime import timedelta
from pathlib import Path

import pytest

from node.dicom import certificates
from node.domain.alert import AlertKind, certificate_conditions
from node.tls import names_of
from tests.conftest import Typed
from tests.sites import Site
from tests.studies import AT


def test_nodus_tls_init_makes_a_site_that_openssl_and_people_can_read(typed: Typed, tmp_path: Path) -> None:
    folder = tmp_path / "tls"
    code, said = typed("tls", "init", str(folder), "--host", "nodus.example", "--host", "10.0.0.9", "--peer", "ct1")
    assert (code, f'tls_ca = "{folder}/ca.pem"' in said) == (0, True)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {
        **dict.fromkeys(("ca.key", "node.key", "ct1.key"), 0o600),
        **dict.fromkeys(("ca.pem", "node.pem", "ct1.pem"), 0o644),
    }
    (node,) = certificates.read(folder / "node.pem")
    assert (node.subject, node.names, node.key) == ("CN=node", ("nodus.example", "10.0.0.9"), "RSA 3072")
    assert typed("tls", "init", str(folder), "--peer", "pacs")[0] == 0
    assert "is there already, and is not replaced" in typed("tls", "init", str(folder), "--peer", "pacs")[1]


@pytest.mark.parametrize("name", ["../up", ".hidden", "a b", "ä", ""])
def test_a_name_that_is_none_for_a_file_is_one_sentence(typed: Typed, tmp_path: Path, name: str) -> None:
    code, said = typed("tls", "init", str(tmp_path / "tls"), "--peer", name)
    assert (code, "no name for a certificate" in said) == (1, True)


def test_a_host_that_is_none_is_one_sentence(typed: Typed, tmp_path: Path) -> None:
    assert "neither a host's name nor an address" in typed("tls", "init", str(tmp_path / "tls"), "--host", "ä")[1]


def test_nodus_tls_show_tells_what_ends_by_its_exit_code(
    typed: Typed, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert typed("tls", "show", str(site.pem("node")))[0] == 0
    assert typed("tls", "show", str(site.pem("expired")))[0] == 1
    assert "holds no certificate" in typed("tls", "show", str(site.key("node")))[1]
    code, said = typed("tls", "show")
    assert (code, "The settings name no certificates." in said) == (0, True)
    for name, value in site.settings().items():
        monkeypatch.setenv(f"NODUS_{name.upper()}", str(value))
    code, said = typed("tls", "show")
    assert (code, "CN=node" in said, "CN=Nodus private authority" in said) == (0, True, True)


def test_the_end_of_a_certificate_is_told_30_and_7_days_before() -> None:
    def told(days: float) -> list[AlertKind]:
        return [each.kind for each in certificate_conditions([("a.pem", AT + timedelta(days=days))], AT)]

    assert [told(days) for days in (31, 30, 7.1, 7, -1)] == [
        [],
        [AlertKind.CERTIFICATE_ENDS],
        [AlertKind.CERTIFICATE_ENDS],
        [AlertKind.CERTIFICATE_ENDS_SOON],
        [AlertKind.CERTIFICATE_ENDS_SOON],
    ]
    (unreadable,) = certificate_conditions([("a.pem", None)], AT)
    assert (unreadable.kind, unreadable.subject) == (AlertKind.CERTIFICATE_ENDS_SOON, "a.pem")


def test_a_chain_ends_with_its_first_and_authorities_with_their_last(site: Site, tmp_path: Path) -> None:
    both = tmp_path / "both.pem"
    both.write_text(site.pem("expired").read_text() + site.pem("node").read_text())
    expired, good = (certificates.read(site.pem(name))[0].not_after for name in ("expired", "node"))
    assert certificates.end_of(certificates.read(both), authorities=False) == expired
    assert certificates.end_of(certificates.read(both), authorities=True) == good


def test_a_certificate_has_the_names_of_its_subject_and_its_alternatives() -> None:
    shown = {
        "subject": ((("countryName", "DE"),), (("commonName", "CT1"),)),
        "subjectAltName": (("DNS", "ct1.example"), ("IP Address", "10.0.0.5"), ("DirName", (("x", "y"),))),
    }
    assert names_of(shown) == {"ct1", "ct1.example", "10.0.0.5"}
    assert names_of(None) == names_of({}) == frozenset()
