"""TLS to destinations: results, questions and echoes go to who proves that it is the PACS, and to nobody else."""

import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import pytest
from pydicom.uid import generate_uid
from pynetdicom import AE

from node.dicom import certificates, commit_scu, store_scu
from node.dicom.contexts import RESULT_SOP_CLASSES
from node.domain.commitment import Proof, Reference, Report
from node.domain.peers import Destination, Secured
from node.errors import NotTrusted, PeerFailed
from node.flow.prefetch import asks
from node.settings import Settings
from node.settings.priors import ArchiveSettings
from tests.deliveries import analyse_by_hand, finish_by_hand
from tests.sender import send
from tests.servers import HASTY, eventually, free_port, nodus, orthanc, storescp
from tests.servers.committing import committing_pacs
from tests.sites import Site
from tests.studies import Series

IMPATIENT = store_scu.Patience(5.0, 5.0)


def secured(site: Site, name: str = "node", ca: Path | None = None, called: str = "") -> Secured:
    """How we speak to a PACS, with a certificate of some name."""
    shown = (str(site.pem(name)), str(site.key(name))) if name else ("", "")
    return Secured(str(ca or site.ca), *shown, called)


def pacs_at(port: int, how: Secured, host: str = "localhost") -> Destination:
    return Destination("PACS", host, port, secured=how)


@pytest.fixture(scope="module")
def storing(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """DCMTK's storescp over TLS: it believes who the authority of the site has signed."""
    with storescp(tmp_path_factory.mktemp("pacs") / "files", *site.dcmtk("pacs"), "-rc") as pacs:
        yield pacs.port


def test_dcmtk_is_echoed_over_tls(storing: int, site: Site) -> None:
    store_scu.echo("NODUS", pacs_at(storing, secured(site)), IMPATIENT)
    store_scu.echo("NODUS", pacs_at(storing, secured(site), "127.0.0.1"), IMPATIENT)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"name": ""}, "wants a certificate of us|broken off"),
        ({"name": "stranger"}, "does not believe our certificate"),
        ({"called": "another.example"}, "another name"),
        ({"ca": "stranger.pem"}, "its certificate is not good"),
    ],
)
def test_where_one_does_not_believe_the_other_nothing_is_sent(
    storing: int, site: Site, how: dict[str, str], why: str
) -> None:
    if "ca" in how:
        how = {**how, "ca": str(site.folder / how["ca"])}
    with pytest.raises(NotTrusted, match=why):
        store_scu.echo("NODUS", pacs_at(storing, secured(site, **how)), IMPATIENT)  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "why"), [("pacs-expired", "expired"), ("elsewhere", "another name")])
def test_a_pacs_with_a_bad_certificate_gets_nothing(site: Site, tmp_path: Path, name: str, why: str) -> None:
    with storescp(tmp_path / "pacs", *site.dcmtk(name)) as pacs:
        with pytest.raises(NotTrusted, match=why):
            store_scu.echo("NODUS", pacs_at(pacs.port, secured(site)), IMPATIENT)
        if name == "elsewhere":
            store_scu.echo("NODUS", pacs_at(pacs.port, secured(site, called="pacs.elsewhere.example")), IMPATIENT)


def test_a_pacs_that_speaks_no_tls_gets_nothing(site: Site, tmp_path: Path) -> None:
    with storescp(tmp_path / "pacs") as pacs, pytest.raises(PeerFailed):
        store_scu.echo("NODUS", pacs_at(pacs.port, secured(site)), IMPATIENT)


def test_a_pacs_that_offers_only_old_tls_gets_nothing(site: Site) -> None:
    context = site.server("pacs", asks=False)
    context.set_ciphers("AES128-SHA256:AES128-GCM-SHA256:@SECLEVEL=0")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with serving(context) as port, pytest.raises(NotTrusted):
        store_scu.echo("NODUS", pacs_at(port, secured(site)), IMPATIENT)


def test_a_silent_pacs_is_left_in_time(site: Site) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, pytest.raises(PeerFailed):
        how = store_scu.Patience(0.5, 0.5)
        store_scu.echo("NODUS", pacs_at(listener.getsockname()[1], secured(site), "127.0.0.1"), how)


@contextmanager
def serving(context: ssl.SSLContext) -> Iterator[int]:
    ae = AE("PACS")
    ae.add_supported_context("1.2.840.10008.1.1")
    server = ae.start_server(("127.0.0.1", 0), block=False, ssl_context=context)
    try:
        yield server.server_address[1]
    finally:
        ae.shutdown()


def test_certificates_that_are_renewed_are_shown_with_the_next_association(
    storing: int, tmp_path: Path, site: Site
) -> None:
    ours = Site(tmp_path)
    for name in ("pem", "key"):
        (tmp_path / f"node.{name}").write_bytes((site.folder / f"stranger.{name}").read_bytes())
    peer = pacs_at(storing, secured(ours, ca=site.ca))
    with pytest.raises(NotTrusted):
        store_scu.echo("NODUS", peer, IMPATIENT)
    for name in ("pem", "key"):
        (tmp_path / f"node.{name}").write_bytes((site.folder / f"node.{name}").read_bytes())
    store_scu.echo("NODUS", peer, IMPATIENT)


def test_storage_commitment_and_c_find_are_asked_over_tls_and_answered_there(site: Site) -> None:
    taken: list[Report] = []

    def take(_: str, __: str, report: Report) -> int:
        taken.append(report)
        return 0x0000

    reference = Reference(RESULT_SOP_CLASSES[0], *(str(generate_uid()) for _ in range(3)))
    with committing_pacs(here=True, finds=True, tls=site.server("pacs")) as pacs:
        pacs.has[reference.sop_instance_uid] = reference.sop_class_uid
        to = Destination("COMMITTING", "localhost", pacs.port, commitment=Proof.COMMITMENT, secured=secured(site))
        with commit_scu.connected("NODUS", IMPATIENT, to, take) as asking:
            assert asking.has(reference)
        with commit_scu.connected("NODUS", IMPATIENT, to, take) as asking:
            assert asking.ask("2.25.1", [reference]) == 0x0000
            asking.wait()
    assert [each.committed for each in taken] == [(reference.sop_instance_uid,)]


def test_results_reach_a_pacs_over_tls_and_one_that_is_not_it_is_a_security_alert(site: Site, tmp_path: Path) -> None:
    peer = {"ae_title": "PACS", "host": "localhost", "tls": True}
    with (
        storescp(tmp_path / "good", *site.dcmtk("pacs"), "-rc") as good,
        storescp(tmp_path / "bad", *site.dcmtk("elsewhere")) as bad,
    ):
        places = [{**peer, "port": good.port}, {**peer, "port": bad.port, "ae_title": "BAD"}]
        with nodus(tmp_path / "data", senders=HASTY, **site.settings(destinations=places)) as node:
            analyse_by_hand(node, Series("over tls"))
            eventually(lambda: len(good.files()) == 2, what="both results are there")
            (alert,) = eventually(lambda: node.audit("security alert")[:1])
            assert (alert.actor, "another name" in alert.detail) == ("BAD", True)
            assert bad.files() == []
            answers = {each["ae_title"]: each["answer"] for each in node.json("destinations", "echo", code=1)}
            assert answers["PACS"] == "ok"
            assert "another name" in answers["BAD"]


def test_who_is_not_the_archive_or_the_destination_of_images_is_a_security_alert(site: Site, tmp_path: Path) -> None:
    rules = [{"name": "all", "pipeline": "store", "forward": ["BAD"]}]
    with storescp(tmp_path / "bad", *site.dcmtk("elsewhere")) as bad:
        there = {"host": "localhost", "port": bad.port, "tls": True}
        places = [{**there, "ae_title": "BAD", "results": []}]
        with nodus(tmp_path / "data", senders=HASTY, rules=rules, **site.settings(destinations=places)) as node:
            send(node.dicom_port, Series("to nobody").payloads())
            (alert,) = eventually(lambda: node.audit("security alert")[:1])
            assert (alert.actor, "another name" in alert.detail) == ("BAD", True)
            archive = ArchiveSettings.model_validate({**there, "ae_title": "ARCHIVE"})
            ours = Settings.model_validate({"ae_title": "NODUS", **site.settings()})
            with pytest.raises(NotTrusted), asks(ours, node.catalog, archive)():
                pass
            assert "ARCHIVE" in {each.actor for each in node.audit("security alert")}
            assert bad.files() == []


def test_orthanc_sends_images_and_gets_results_over_tls(site: Site, tmp_path: Path) -> None:
    series, port = Series("orthanc over tls"), free_port()
    (tmp_path / "orthanc").mkdir()
    us = {"AET": "NODUS", "Host": "127.0.0.1", "Port": port, "UseDicomTls": True}
    with orthanc(tmp_path / "orthanc", us, site=site) as pacs:
        there = [{"ae_title": pacs.aet, "host": "127.0.0.1", "port": pacs.port, "tls": True}]
        settings = {**site.settings(destinations=there, plain_dicom=False), "tls_port": port}
        with nodus(tmp_path / "data", senders=HASTY, **settings) as node:
            for dataset in series.datasets():
                file = BytesIO()
                dataset.save_as(file, enforce_file_format=True)
                image = pacs.post("/instances", file.getvalue())
            pacs.post("/modalities/nodus/store", json.dumps([image["ParentStudy"]]).encode())
            finish_by_hand(node)
            eventually(lambda: len(pacs.instances()) == 64 + 2, what="both results are there")
            assert {*pacs.instances().values()} >= {*RESULT_SOP_CLASSES[:2]}


def test_a_certificate_of_the_authority_is_not_replaced(site: Site) -> None:
    with pytest.raises(certificates.SettingsError, match="is there already"):
        certificates.authority(site.folder).issue("node")
