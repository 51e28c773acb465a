"""Certificates for people: those that the settings name, and new ones for a test site."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from node.admin.view import View
from node.dicom import certificates
from node.domain.alert import ENDS_WITHIN
from node.errors import SettingsError
from node.listening import certificate_files
from node.settings import Settings

NODE = "node"
DEFAULT_HOSTS = ("localhost", "127.0.0.1")


def init(folder: Path, hosts: Sequence[str], peers: Sequence[str]) -> View:
    """Make a private authority where there is none, a certificate for the node where there is none, and one for each
    peer. Raises SettingsError."""
    ours = certificates.authority(folder)
    made = [] if (folder / f"{NODE}.pem").exists() and peers else [ours.issue(NODE, hosts or DEFAULT_HOSTS)]
    made += [ours.issue(each) for each in peers]
    rows = [_row(each) for path in made for each in certificates.read(path)]
    where = folder.absolute()
    note = (
        f'For nodus.toml:\ntls_certificate = "{where}/{NODE}.pem"\ntls_key = "{where}/{NODE}.key"\n'
        f'tls_ca = "{where}/ca.pem"\n'
        f"Whoever has {where}/ca.key can make certificates that are believed: for tests only."
    )
    return View(rows, ("file", "names", "ends"), rows, note)


def show(settings: Settings, files: Sequence[Path]) -> View:
    """Certificates of some files, or of those that the settings name. Well: none ends within 30 days. Raises
    SettingsError for a file that was named and holds none."""
    now = datetime.now(UTC)
    found = dict.fromkeys(files, False) if files else certificate_files(settings)
    rows = [row for path in found for row in (_rows(path) if not files else map(_row, certificates.read(path)))]
    well = all("error" not in row and row["ends"] - now > ENDS_WITHIN for row in rows)
    note = "" if rows else "The settings name no certificates."
    return View(rows, ("file", "subject", "names", "issuer", "ends", "key", "error"), rows, note, well)


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        return [_row(each) for each in certificates.read(path)]
    except SettingsError as error:
        return [{"file": str(path), "error": str(error)}]


def _row(one: certificates.Certificate) -> dict[str, Any]:
    return {
        "file": str(one.path),
        "subject": one.subject,
        "names": list(one.names),
        "issuer": one.issuer,
        "begins": one.not_before,
        "ends": one.not_after,
        "key": one.key,
        "sha256": one.sha256,
    }
