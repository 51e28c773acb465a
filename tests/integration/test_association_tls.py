"""The DICOM port over TLS: who shakes hands is served, and who does not keeps nobody waiting."""

import socket
import ssl
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from node.dicom.tls import server_context
from node.errors import SettingsError
from node.settings import load
from tests.peers import require
from tests.received import kept, registered
from tests.sender import Ended, send
from tests.servers import Nodus, eventually, nodus, run_dcmtk
from tests.studies import Series

SILENT = 50


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate that nobody but us has signed, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    command = [require("openssl", "openssl"), "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-days", "2"]
    command += ["-subj", "/CN=nodus", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    return certificate, key


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, certificate: tuple[Path, Path]) -> Iterator[Nodus]:
    """One receiver whose port speaks TLS."""
    files = {"tls_certificate": str(certificate[0]), "tls_key": str(certificate[1])}
    with nodus(tmp_path_factory.mktemp("node") / "data", refusals_every_s=0.5, **files) as node:
        yield node


def silent(node: Nodus, source: str = "127.0.0.1") -> socket.socket:
    return socket.create_connection(("127.0.0.1", node.dicom_port), 20, (source, 0))


def test_dcmtk_sends_over_tls_while_silent_connections_are_open(node: Nodus, tmp_path: Path) -> None:
    series = Series("over tls")
    for number, dataset in enumerate(series.datasets()):
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    crowd = [silent(node, f"127.0.0.{2 + number // 20}") for number in range(SILENT)]
    try:
        files = [str(path) for path in sorted(tmp_path.iterdir())]
        run_dcmtk("storescu", "+tla", "-ic", "-aec", "NODUS", "127.0.0.1", str(node.dicom_port), *files)
        assert crowd[-1].recv(1) == b""
    finally:
        for each in crowd:
            each.close()
    registered(node, series, 64)
    for payload in series.payloads():
        assert kept(node, payload) == [payload.data_set]


def test_a_plain_connection_fails_at_once_and_is_audited(node: Nodus) -> None:
    us = ("-aec", "NODUS", "127.0.0.1", str(node.dicom_port))
    with pytest.raises((Ended, OSError, AssertionError)):
        send(node.dicom_port, Series("plain").payloads([0]))
    assert "failed" in run_dcmtk("echoscu", *us, check=False).lower()
    refused = eventually(lambda: node.audit("association refused"))
    assert "no TLS handshake" in refused[0].detail
    run_dcmtk("echoscu", "+tla", "-ic", *us)


def test_a_client_that_stalls_inside_its_handshake_is_cut(node: Nodus) -> None:
    with silent(node) as half:
        half.sendall(b"\x16\x03\x01\x02\x00\x01")  # the head of a ClientHello, and no more
        assert half.recv(100) == b""


@pytest.mark.parametrize(("version", "served"), [(ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True)])
def test_nothing_older_than_tls_1_2_is_spoken(node: Nodus, version: ssl.TLSVersion, served: bool) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_ciphers("ALL:@SECLEVEL=0")
    with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
        context.minimum_version = context.maximum_version = version
    with silent(node) as connection:
        if served:
            with context.wrap_socket(connection) as wrapped:
                assert wrapped.version() == "TLSv1.2"
        else:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(connection)


def test_files_that_are_no_certificate_are_said_to_be_none(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("no PEM")
    with pytest.raises(SettingsError, match="no certificate and its key"):
        server_context(tmp_path / "other", tmp_path / "other")


def test_a_certificate_without_its_key_is_no_setting(certificate: tuple[Path, Path]) -> None:
    with pytest.raises(SettingsError, match="must be given together"):
        load(tls_certificate=certificate[0])
