"""How a node listens, by its settings: its doors, what they ask of callers, whom they believe, and for how long."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from node import tls
from node.dicom import certificates
from node.dicom.store_scp import Listening
from node.dicom.trust import Trust
from node.dicom.upper_layer.acceptor import Door
from node.dicom.users import Users, UsersFile
from node.domain.peers import Secured
from node.doors import Doors
from node.errors import SettingsError
from node.settings import ClientCertificates, Settings

CERTIFICATES = ("nodus_certificate_end_seconds", "End of each certificate, in Unix time; 0 where it cannot be read")
"""Name and text of a metric."""


def listening_of(settings: Settings) -> Listening:
    """What the doors have in common."""
    return Listening(
        settings.ae_title,
        settings.maximum_pdu_bytes,
        settings.request_timeout_s,
        settings.network_timeout_s,
        _trust_of(settings),
        settings.worklist_ae_title,
        frozenset(each.ae_title for each in settings.aes),
    )


def _trust_of(settings: Settings) -> Trust:
    if settings.users_file is None:
        return Trust()
    users = Users(UsersFile(settings.users_file), settings.ae_title, settings.jwt_key)
    return Trust(users, frozenset(settings.user_required_of))


def doors_of(settings: Settings, doors: Doors) -> list[Door]:
    """The plain one, and the one that speaks TLS, as far as they are there."""
    files = files_of(settings)
    plain = [Door(doors.plain)] if doors.plain else []
    return plain + ([Door(doors.secure, tls.Server(files).context)] if doors.secure and files else [])


def files_of(settings: Settings) -> tls.ServerFiles | None:
    """Of the door that speaks TLS; None where there is none."""
    if not (settings.tls_certificate and settings.tls_key):
        return None
    required = settings.tls_clients is ClientCertificates.REQUIRED
    return tls.ServerFiles(settings.tls_certificate, settings.tls_key, settings.tls_ca, required)


def require_usable(settings: Settings) -> None:
    """Refuse, when a node starts, files that are no certificates, keys or users. Raises SettingsError."""
    if files := files_of(settings):
        tls.server_context(files)
    if settings.users_file:
        UsersFile(settings.users_file).read()
    for each in _spoken_to(settings):
        tls.client_context(each)


def _spoken_to(settings: Settings) -> list[Secured]:
    """How TLS is spoken to those that the settings name."""
    archive = [settings.archive.destination(settings.secured)] if settings.archive else []
    everybody = (*settings.all_destinations(), *settings.event_receivers, *archive)
    return [each.secured for each in everybody if each.secured]


def certificate_files(settings: Settings) -> dict[Path, bool]:
    """Files of certificates that the settings name, and whether each holds authorities."""
    secured = _spoken_to(settings)
    own = [settings.tls_certificate, *(Path(each.certificate) for each in secured if each.certificate)]
    believed = [settings.tls_ca, *(Path(each.ca) for each in secured if each.ca)]
    return {path.absolute(): path in believed for path in (*own, *believed) if path}


def endings(settings: Settings) -> Iterator[tuple[str, datetime | None]]:
    """When each of them ends; None where it cannot be read."""
    for path, authorities in certificate_files(settings).items():
        try:
            yield str(path), certificates.end_of(certificates.read(path), authorities=authorities)
        except SettingsError:
            yield str(path), None


def end_times(settings: Settings) -> dict[str, int]:
    """The same as Unix time, s; 0 where it cannot be read."""
    return {path: int(end.timestamp()) if end else 0 for path, end in endings(settings)}
