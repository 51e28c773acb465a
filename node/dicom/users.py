"""Users who administer by DICOM: their file, and how a User Identity (PS3.7 D.3.3.7) is proven."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import jwt

from node.domain import passcode
from node.errors import SettingsError

USERNAME, WITH_PASSCODE, JSON_WEB_TOKEN = 1, 2, 5
"""User-Identity-Type (PS3.7 Table D.3-14)."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "ES256", "ES384", "EdDSA")
"""With a public key: none that a secret shared with us would do for."""
NOBODY = passcode.of_nobody()
"""What the passcode of an unknown user is compared with, so that the time tells nothing."""
MOST_CHARACTERS = 64
"""Of a user's name."""


class Identity(Protocol):
    """A User Identity of an A-ASSOCIATE-RQ."""

    user_identity_type: int | None
    primary_field: bytes | None
    secondary_field: bytes | None


@dataclass(frozen=True)
class UsersFile:
    """`NAME:HASH`, one a line; a NAME without a hash has no passcode, and comes by token or certificate alone."""

    path: Path

    def read(self) -> dict[str, str]:
        """Name to hash. Raises SettingsError for a file that is not like that."""
        try:
            lines = self.path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            raise SettingsError(f"The users' file {self.path} cannot be read; `nodus users set` makes one.") from None
        users = dict[str, str]()
        for number, line in enumerate(lines, 1):
            name, _, known = line.strip().partition(":")
            if not is_name(name) or (known and not known.startswith("scrypt$")):
                raise SettingsError(f"Line {number} of {self.path} is no user: NAME:HASH, as `nodus users set` writes.")
            users[name] = known
        return users

    def write(self, users: Mapping[str, str]) -> None:
        """Replace the file. Raises SettingsError."""
        aside = self.path.with_name(f".{self.path.name}.new")
        try:
            file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            with os.fdopen(file, "w", encoding="utf-8") as text:
                text.write("".join(f"{name}:{known}\n" for name, known in sorted(users.items())))
                text.flush()
                os.fsync(text.fileno())
            aside.replace(self.path)
        except OSError:
            raise SettingsError(f"The users' file {self.path} cannot be written.") from None


def is_name(name: str) -> bool:
    """Whether a user can be called so."""
    return 0 < len(name) <= MOST_CHARACTERS and name.isprintable() and not set(name) & {":", " "}


@dataclass(frozen=True)
class Users:
    """Who may say who it is, and how."""

    file: UsersFile
    audience: str
    """Our AE title: who a token must be meant for."""
    jwt_key: Path | None = None
    _leeway_s: int = field(default=30)
    """Clocks differ."""

    def proven(self, identity: Identity, *, has_certificate: bool) -> str | None:
        """The user, where that is proven. A name alone is believed of who has shown a certificate.

        The file is read each time, so that a user who was removed is one no more. Raises SettingsError.
        """
        known, given = self.file.read(), identity.primary_field or b""
        if identity.user_identity_type == JSON_WEB_TOKEN:
            return self._of_token(given, known)
        name = given.decode("utf-8", "replace")
        if identity.user_identity_type == USERNAME:
            return name if name in known and not known[name] and has_certificate else None
        if identity.user_identity_type == WITH_PASSCODE:
            matching = _matches(identity.secondary_field or b"", known.get(name) or NOBODY)
            return name if matching and known.get(name) else None
        return None  # Kerberos and SAML are not spoken here

    def _of_token(self, token: bytes, known: Mapping[str, str]) -> str | None:
        if self.jwt_key is None:
            return None
        try:
            claims = jwt.decode(
                token,
                self.jwt_key.read_bytes(),
                algorithms=list(ALGORITHMS),
                audience=self.audience,
                leeway=self._leeway_s,
                options={"require": ["exp", "aud", "sub"]},
            )
        except OSError:
            raise SettingsError(f"The key {self.jwt_key} of tokens cannot be read.") from None
        except (jwt.PyJWTError, ValueError, TypeError):
            return None
        name = str(claims["sub"])
        return name if name in known else None


def _matches(given: bytes, known: str) -> bool:
    try:
        return passcode.matches(given, known)
    except ValueError:
        return False
