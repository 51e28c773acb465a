"""Certificates: read for people and clocks, and made for a test site by a private authority of its own."""

import os
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from node.errors import SettingsError

KEY_BITS = 3072
"""RSA, which every device understands."""
AUTHORITY_DAYS, CERTIFICATE_DAYS = 3650, 825
SLACK = timedelta(hours=1)
"""Clocks of a site differ: what is made now holds since a little while."""
AUTHORITY = "ca"
ALLOWED = frozenset(string.ascii_letters + string.digits + "-_.")


@dataclass(frozen=True)
class Certificate:
    """One certificate, as it is shown."""

    path: Path
    subject: str
    names: tuple[str, ...]
    issuer: str
    not_before: datetime
    not_after: datetime
    key: str
    sha256: str

    @property
    def is_authority(self) -> bool:
        """Whether it signed itself."""
        return self.subject == self.issuer


def read(path: Path) -> list[Certificate]:
    """Every certificate of a PEM file, in its order. Raises SettingsError."""
    try:
        found = x509.load_pem_x509_certificates(path.read_bytes())
    except (OSError, ValueError):
        raise SettingsError(f"{path} holds no certificate (PEM).") from None
    return [_shown(path, each) for each in found]


def _shown(path: Path, one: x509.Certificate) -> Certificate:
    key = one.public_key()
    size = getattr(key, "key_size", None)
    return Certificate(
        path,
        one.subject.rfc4514_string(),
        _names(one),
        one.issuer.rfc4514_string(),
        one.not_valid_before_utc,
        one.not_valid_after_utc,
        f"{type(key).__name__.removesuffix('PublicKey').strip('_')}{f' {size}' if size else ''}",
        one.fingerprint(hashes.SHA256()).hex(),
    )


def _names(one: x509.Certificate) -> tuple[str, ...]:
    try:
        names = one.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return tuple(str(each.value) for each in names if isinstance(each, x509.DNSName | x509.IPAddress))


def end_of(certificates: Sequence[Certificate], *, authorities: bool) -> datetime:
    """When a file of certificates is no good any more: a chain with the first of them, authorities with the last."""
    ends = [each.not_after for each in certificates]
    return max(ends) if authorities else min(ends)


@dataclass(frozen=True)
class Authority:
    """A private authority in a folder: `ca.pem` and `ca.key`."""

    folder: Path
    certificate: x509.Certificate
    key: rsa.RSAPrivateKey

    def issue(self, name: str, hosts: Iterable[str] = (), days: float = CERTIFICATE_DAYS) -> Path:
        """Make `NAME.pem` and `NAME.key`, for servers and clients alike. Raises SettingsError where they are there."""
        if not set(name) <= ALLOWED or name.startswith("."):
            raise SettingsError(f"{name!r} is no name for a certificate and its file: letters, digits, `-`, `_`, `.`.")
        key = _new_key()
        whole = [x509.DNSName(name)] if not hosts else [_general(each) for each in hosts]
        uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH])
        builder = (
            _builder(_named(name), self.certificate.subject, key, days)
            .add_extension(x509.SubjectAlternativeName(whole), critical=False)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(uses, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )
        return _kept(self.folder, name, builder.sign(self.key, hashes.SHA256()), key)


def authority(folder: Path) -> Authority:
    """The authority of a folder; made where there is none. Raises SettingsError."""
    place = folder / f"{AUTHORITY}.pem"
    if not place.exists():
        _make_authority(folder)
    try:
        key = serialization.load_pem_private_key(place.with_suffix(".key").read_bytes(), password=None)
        certificate = x509.load_pem_x509_certificate(place.read_bytes())
    except (OSError, ValueError, TypeError):
        raise SettingsError(f"{folder} holds no authority that can be used: {place} and its key.") from None
    if not isinstance(key, rsa.RSAPrivateKey):
        raise SettingsError(f"The authority in {folder} is not one that `nodus tls init` made.")
    return Authority(folder, certificate, key)


def _make_authority(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        raise SettingsError(f"The folder {folder} cannot be made.") from None
    key, name = _new_key(), _named("Nodus private authority")
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        _builder(name, name, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
    )
    _kept(folder, AUTHORITY, builder.sign(key, hashes.SHA256()), key)


def _new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)


def _named(name: str) -> x509.Name:
    try:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    except ValueError:
        raise SettingsError(f"{name!r} is no name for a certificate: it has 1 to 64 characters.") from None


def _general(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host)
    except ValueError:
        raise SettingsError(f"{host!r} is neither a host's name nor an address.") from None


def _builder(subject: x509.Name, issuer: x509.Name, key: rsa.RSAPrivateKey, days: float) -> x509.CertificateBuilder:
    now, public = datetime.now(UTC), key.public_key()
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + min(timedelta(0), timedelta(days=days)) - SLACK)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _kept(folder: Path, name: str, certificate: x509.Certificate, key: rsa.RSAPrivateKey) -> Path:
    """The key first, so that no certificate is without its key."""
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(folder / f"{name}.key", secret, 0o600)
    _write(folder / f"{name}.pem", certificate.public_bytes(serialization.Encoding.PEM), 0o644)
    return folder / f"{name}.pem"


def _write(path: Path, content: bytes, mode: int) -> None:
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise SettingsError(f"{path} is there already, and is not replaced; remove it if it should be.") from None
    except OSError:
        raise SettingsError(f"{path} cannot be written.") from None
    with os.fdopen(file, "wb") as open_file:
        open_file.write(content)
