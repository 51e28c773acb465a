"""The TLS port beside the plain one: who proves who it is is served, who does not is refused, audited, and waits for
nobody."""

import shutil
import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from node.dicom import certificates
from node.dicom.answers import keep_answers
from node.errors import SettingsError
from node.settings import load
from node.tls import ServerFiles, server_context
from tests.peers import require
from tests.received import kept, registered
from tests.sender import Ended, send
from tests.servers import Nodus, eventually, nodus, run_dcmtk
from tests.sites import Site
from tests.studies import Series

SILENT = 50
SENDERS = [
    {"network": "127.0.0.0/8"},
    {"ae_title": "CT1", "network": "127.0.0.0/8", "certificate": "ct1"},
]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Iterator[Nodus]:
    """One receiver with both ports; CT1 must have its certificate."""
    settings = site.settings(refusals_every_s=0.5, senders=SENDERS)
    with nodus(tmp_path_factory.mktemp("node") / "data", **settings) as node:
        yield node


def silent(node: Nodus, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", node.tls_port), 20, (source, 0))


def echoscu(node: Nodus, *options: str, port: int = 0, check: bool = True) -> str:
    us = ("-aec", "NODUS", "127.0.0.1", str(port or node.tls_port))
    return run_dcmtk("echoscu", *options, *us, check=check)


def alerted(node: Nodus, reason: str) -> None:
    """The audit trail has a security alert of this reason."""
    eventually(lambda: [row for row in node.audit("security alert") if reason in row.detail], what=reason)


def test_dcmtk_sends_over_tls_while_silent_connections_are_open(node: Nodus, site: Site, tmp_path: Path) -> None:
    series = Series("over tls")
    for number, dataset in enumerate(series.datasets()):
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    crowd = [silent(node, f"127.0.0.{2 + number // 20}") for number in range(SILENT)]
    try:
        files = [str(path) for path in sorted(tmp_path.iterdir())]
        us = ("-aet", "CT1", "-aec", "NODUS", "127.0.0.1", str(node.tls_port))
        run_dcmtk("storescu", *site.dcmtk("ct1"), *us, *files)
        assert crowd[-1].recv(1) == b""
    finally:
        for each in crowd:
            each.close()
    registered(node, series, 64)
    for payload in series.payloads():
        assert kept(node, payload) == [payload.data_set]


def test_both_ports_serve_who_needs_no_certificate_of_its_own(node: Nodus, site: Site) -> None:
    echoscu(node, *site.dcmtk("ct2"))
    echoscu(node, port=node.dicom_port)


def test_a_plain_connection_to_the_tls_port_fails_at_once_and_is_audited(node: Nodus) -> None:
    with pytest.raises((Ended, OSError, AssertionError)):
        send(node.tls_port, Series("plain").payloads([0]))
    assert "failed" in echoscu(node, check=False).lower()
    alerted(node, "no TLS handshake: this was no TLS")


def test_tls_on_the_plain_port_fails_at_once_and_is_audited(node: Nodus, site: Site) -> None:
    assert "failed" in echoscu(node, *site.dcmtk("ct2"), port=node.dicom_port, check=False).lower()
    alerted(node, "TLS on the plain port")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "no certificate was shown"),
        ("stranger", "its certificate is not good"),
        ("expired", "its certificate is not good: certificate has expired"),
    ],
)
def test_who_shows_no_good_certificate_is_refused_and_audited(node: Nodus, site: Site, name: str, reason: str) -> None:
    options = site.dcmtk(name) if name else ("+tla", "+cf", str(site.ca))
    assert "failed" in echoscu(node, *options, check=False).lower()
    alerted(node, reason)


def test_a_certificate_of_another_ae_title_is_refused_and_audited(node: Nodus, site: Site) -> None:
    echoscu(node, *site.dcmtk("ct1"), "-aet", "CT1")
    said = echoscu(node, *site.dcmtk("ct2"), "-aet", "CT1", check=False)
    assert "Calling AE Title Not Recognized" in said
    alerted(node, "its certificate is not that of this AE title")
    assert "CT1" in {row.actor for row in node.audit("security alert")}


def test_who_must_have_a_certificate_is_not_heard_without_tls(node: Nodus) -> None:
    said = echoscu(node, "-aet", "CT1", port=node.dicom_port, check=False)
    assert "Calling AE Title Not Recognized" in said
    alerted(node, "this AE title is heard over TLS only")
    assert not [each for each in node.json("senders", "list") if each["standing"] == "pending"]


def test_a_pynetdicom_client_is_served_and_sees_a_certificate_of_our_name(node: Nodus, site: Site) -> None:
    ae = AE("CT1")
    ae.add_requested_context(Verification)
    association = keep_answers(
        ae.associate("127.0.0.1", node.tls_port, ae_title="NODUS", tls_args=(site.client("ct1"), "localhost"))
    )
    assert association.send_c_echo().Status == 0x0000
    association.release()


def test_a_client_that_stalls_inside_its_handshake_is_cut(node: Nodus) -> None:
    with silent(node) as half:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")  # the head of a ClientHello, and no more
        assert half.recv(100) == b""
    alerted(node, "no TLS handshake: ")


@pytest.mark.parametrize(
    ("version", "name"),
    [(ssl.TLSVersion.TLSv1_1, ""), (ssl.TLSVersion.TLSv1_2, "TLSv1.2"), (ssl.TLSVersion.TLSv1_3, "TLSv1.3")],
)
def test_nothing_older_than_tls_1_2_is_spoken(node: Nodus, site: Site, version: ssl.TLSVersion, name: str) -> None:
    context = site.client("ct2")
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = ssl.TLSVersion.TLSv1
        context.maximum_version = version
    with silent(node) as connection:
        if name:
            with context.wrap_socket(connection, server_hostname="127.0.0.1") as wrapped:
                assert wrapped.version() == name
        else:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(connection, server_hostname="127.0.0.1")
            alerted(node, "TLS older than 1.2")


@pytest.mark.parametrize("ciphers", ["AES128-SHA256", "ECDHE-RSA-AES128-SHA256", "AES128-GCM-SHA256"])
def test_openssl_gets_no_cipher_without_forward_secrecy_or_authenticated_encryption(
    node: Nodus, site: Site, ciphers: str
) -> None:
    said = s_client(node, site, "-tls1_2", "-cipher", ciphers)
    assert "Cipher is (NONE)" in said
    alerted(node, "no cipher that both take")


def test_openssl_gets_an_authenticated_cipher_with_forward_secrecy(node: Nodus, site: Site) -> None:
    said = s_client(node, site, "-tls1_2")
    assert "Verify return code: 0 (ok)" in said
    assert "Cipher is ECDHE-RSA-AES" in said


def s_client(node: Nodus, site: Site, *options: str) -> str:
    command = [
        require("openssl", "openssl"),
        "s_client",
        "-connect",
        f"127.0.0.1:{node.tls_port}",
        "-verify_return_error",
    ]
    command += ["-CAfile", str(site.ca), "-cert", str(site.pem("ct2")), "-key", str(site.key("ct2")), *options]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, input="")
    return ended.stdout + ended.stderr


def test_a_certificate_that_is_replaced_is_shown_to_the_next_caller(site: Site, tmp_path: Path) -> None:
    files = tmp_path / "certificates"
    shutil.copytree(site.folder, files)
    own = Site(files)
    with nodus(tmp_path / "data", **own.settings()) as node:
        echoscu(node, *own.dcmtk("ct1"))
        own.pem("node").write_text("half a certifi")
        echoscu(node, *own.dcmtk("ct1"))
        for path in (own.pem("node"), own.key("node")):
            path.unlink()
        certificates.authority(files).issue("node", ["renewed", "127.0.0.1"])
        context = own.client("ct1")
        with silent(node) as connection, context.wrap_socket(connection, server_hostname="renewed") as wrapped:
            assert wrapped.getpeercert()
        own.ca.write_text(own.pem("stranger").read_text())  # an authority that signed none of them
        assert "failed" in echoscu(node, *site.dcmtk("ct1"), check=False).lower()


def test_a_node_can_do_without_its_plain_port(site: Site, tmp_path: Path) -> None:
    with nodus(tmp_path / "data", **site.settings(plain_dicom=False)) as node:
        assert node.dicom_port == node.tls_port
        echoscu(node, *site.dcmtk("ct1"))
        assert "failed" in echoscu(node, check=False).lower()


def test_where_certificates_are_only_asked_for_one_is_not_needed_but_a_bad_one_is_refused(
    site: Site, tmp_path: Path
) -> None:
    with nodus(tmp_path / "data", **site.settings(tls_clients="asked", senders=SENDERS)) as node:
        echoscu(node, "+tla", "+cf", str(site.ca))
        echoscu(node, *site.dcmtk("ct1"), "-aet", "CT1")
        assert "rejected" in echoscu(node, "+tla", "+cf", str(site.ca), "-aet", "CT1", check=False).lower()
        assert "failed" in echoscu(node, *site.dcmtk("stranger"), check=False).lower()


def test_files_that_are_no_certificate_are_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("no PEM")
    with pytest.raises(SettingsError, match="no certificate and its key"):
        server_context(ServerFiles(tmp_path / "other", tmp_path / "other"))


def test_a_certificate_without_its_key_is_no_setting(site: Site) -> None:
    with pytest.raises(SettingsError, match="must be given together"):
        load(tls_certificate=site.pem("node"))


def test_a_sender_cannot_have_a_certificate_that_nobody_checks(site: Site) -> None:
    files = {"tls_certificate": site.pem("node"), "tls_key": site.key("node")}
    with pytest.raises(SettingsError, match="certificate of CT1 can be checked only with tls_ca"):
        load(**files, senders=SENDERS)
    with pytest.raises(SettingsError, match="or nobody can call"):
        load(plain_dicom=False)
