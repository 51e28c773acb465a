"""settings: every table that names a peer says in the same words how it is spoken to over TLS."""

from pathlib import Path

import pytest

from node.domain.peers import Secured
from node.errors import SettingsError
from node.listening import certificate_files, require_usable
from node.settings import Settings, load
from tests.sites import Site

PLACE = 'ae_title = "PEER"\nhost = "peer"\nport = 104\n'
TABLES = {
    "destinations": f"[[destinations]]\n{PLACE}",
    "subscribers": f"[[subscribers]]\n{PLACE}",
    "archive": f"[archive]\n{PLACE}",
    "hl7": '[[hl7]]\nname = "RIS"\nhost = "ris"\n',
}


def read(folder: Path, *lines: str) -> Settings:
    path = folder / "nodus.toml"
    path.write_text("".join(lines))
    return load(path)


def spoken_to(settings: Settings) -> Secured | None:
    """How the one peer of the settings is."""
    named = [*settings.all_destinations(), *settings.event_receivers]
    if settings.archive:
        named.append(settings.archive.destination(settings.secured))
    (found,) = {each.secured for each in named}
    return found


@pytest.mark.parametrize("table", TABLES)
def test_a_peer_is_spoken_to_in_the_clear_or_with_the_files_of_the_node_or_its_own(
    tmp_path: Path, site: Site, table: str
) -> None:
    ours = f'tls_ca = "{site.ca}"\ntls_certificate = "{site.pem("node")}"\ntls_key = "{site.key("node")}"\n'
    assert spoken_to(read(tmp_path, ours, TABLES[table])) is None
    shared = read(tmp_path, ours, TABLES[table], "tls = true\n")
    assert spoken_to(shared) == Secured(str(site.ca), str(site.pem("node")), str(site.key("node")))
    require_usable(shared)
    own = f'tls = true\ntls_name = "other"\ntls_certificate = "{site.pem("ct1")}"\ntls_key = "{site.key("ct1")}"\n'
    apart = read(tmp_path, ours, TABLES[table], own)
    assert spoken_to(apart) == Secured(str(site.ca), str(site.pem("ct1")), str(site.key("ct1")), "other")
    assert certificate_files(apart)[site.pem("ct1")] is False


@pytest.mark.parametrize("table", TABLES)
def test_files_of_a_peer_that_are_no_certificates_end_the_start_in_a_sentence(tmp_path: Path, table: str) -> None:
    with pytest.raises(SettingsError, match="holds no certificates of authorities"):
        require_usable(read(tmp_path, TABLES[table], 'tls = true\ntls_ca = "/dev/null"\n'))
    with pytest.raises(SettingsError, match="tls_certificate and tls_key must be given together"):
        read(tmp_path, TABLES[table], 'tls = true\ntls_certificate = "a.pem"\n')
