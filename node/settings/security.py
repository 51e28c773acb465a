"""Settings of who can listen in, and how callers prove who they are: TLS, certificates, users."""

from enum import StrEnum
from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from node.settings.titles import AeTitle


class ClientCertificates(StrEnum):
    """What is expected of callers on the TLS port."""

    REQUIRED = "required"
    ASKED = "asked"


class SecuritySettings(BaseSettings):
    """Part of the Settings."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    tls_certificate: Path | None = None
    """PEM file of our certificate, its chain behind it. With `tls_key` a second DICOM port speaks TLS, and only TLS;
    destinations that want a certificate see this one, too. Read anew when the file changes."""
    tls_key: Path | None = Field(None, validate_default=True)
    """PEM file of its private key, without a password."""
    tls_port: int = Field(2762, ge=0, lt=65536)
    """The DICOM port that speaks TLS, where there is a certificate; 0 picks a free one."""
    plain_dicom: bool = Field(True, validate_default=True)
    """Whether `port` is served, too, without TLS."""
    tls_ca: Path | None = Field(None, validate_default=True)
    """PEM file of the authorities whose certificates callers must show, and that destinations with `tls` are trusted
    by where they name none of their own. Unset: callers are not asked, and destinations are trusted by the system's."""
    tls_clients: ClientCertificates = ClientCertificates.REQUIRED
    """With `tls_ca`: a certificate is `required` of every caller on the TLS port, or `asked` for, and checked where one
    is shown; who has to have one then says `certificate` of each sender."""
    users_file: Path | None = None
    """Users and their passcodes as scrypt hashes, written by `nodus users`: with it callers on the TLS port may say who
    their user is (PS3.7 D.3.3.7), and who says so wrongly is refused."""
    jwt_key: Path | None = None
    """PEM file of the public key (RSA or EC) that a user's JSON Web Token is signed with; its audience is our AE title,
    its subject a user of `users_file`. Unset: none is taken."""
    user_required_of: tuple[AeTitle, ...] = Field((), validate_default=True)
    """Calling AE titles, such as those of administrators, that are heard only with a user, over TLS."""

    @field_validator("tls_key")
    @classmethod
    def _comes_with_its_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_certificate") is None):
            raise ValueError("tls_certificate and tls_key must be given together")
        return value

    @field_validator("plain_dicom")
    @classmethod
    def _some_port_is_left(cls, value: bool, info: ValidationInfo) -> bool:
        if not value and info.data.get("tls_certificate") is None:
            raise ValueError("without it there must be tls_certificate and tls_key, or nobody can call")
        return value

    @field_validator("user_required_of")
    @classmethod
    def _can_have_users(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for needed in ("users_file", "tls_certificate"):
            if value and info.data.get(needed) is None:
                raise ValueError(f"{needed} must be given, or these AE titles are never heard")
        return value
