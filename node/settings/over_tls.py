"""What tables of nodus.toml that name a peer have in common: how it is spoken to over TLS."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from node.domain.peers import Secured


class OverTls(BaseModel):
    """Part of a table."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    tls: bool = False
    """Whether it is spoken to over TLS: 1.2 or newer, its certificate and its name checked."""
    tls_ca: Path | None = None
    """PEM file of the authorities that it is trusted by; unset: the `tls_ca` of the node, or else the system's."""
    tls_certificate: Path | None = None
    """PEM file of the certificate that it is shown; unset: that of the node, where it has one."""
    tls_key: Path | None = Field(None, validate_default=True)
    """PEM file of its private key."""
    tls_name: str = ""
    """Name that its certificate must have, where that is not `host`."""

    @field_validator("tls_key")
    @classmethod
    def _comes_with_its_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_certificate") is None):
            raise ValueError("tls_certificate and tls_key must be given together")
        return value

    def secured(self, ours: Secured | None = None) -> Secured | None:
        """As the domain knows it, None where TLS is not spoken; `ours` is what counts where it names no files."""
        if not self.tls:
            return None
        ours = ours or Secured()
        own = (self.tls_certificate, self.tls_key) if self.tls_key else (ours.certificate, ours.key)
        ca, certificate, key = (str(Path(each).absolute()) if each else "" for each in (self.tls_ca or ours.ca, *own))
        return Secured(ca, certificate, key, self.tls_name)
