"""`[[hl7]]` and `[audit_repository]` of nodus.toml: who is told of readings, and of everything that was done."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator

from node.domain.collector import Collector
from node.domain.delivery import MessageKind
from node.domain.message import Receiver
from node.domain.outcome import Outcome
from node.domain.peers import Destination, Protocol, Secured
from node.settings.over_tls import OverTls
from node.settings.titles import AeTitle


def _as_value_of_hl7(text: str) -> str:
    if not text.isprintable():
        raise ValueError("an application or facility has no control characters")
    return text


Hl7Name = Annotated[str, StringConstraints(strip_whitespace=True, max_length=180), AfterValidator(_as_value_of_hl7)]


class Hl7Settings(OverTls):
    """`[[hl7]]`: a RIS or an interface engine that gets one ORU^R01 for each reading, over MLLP."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    name: AeTitle
    """What it is called here, as in `nodus destinations`."""
    host: str
    """Name or address."""
    port: int = Field(default=2575, gt=0, lt=65536)
    """TCP port."""
    sending_application: Hl7Name = ""
    """MSH-3; unset: our AE title."""
    sending_facility: Hl7Name = ""
    """MSH-4."""
    receiving_application: Hl7Name = ""
    """MSH-5."""
    receiving_facility: Hl7Name = ""
    """MSH-6."""
    outcomes: tuple[Outcome, ...] = tuple(Outcome)
    """Readings that it is told of, by how they ended: findings, no findings, partial, not analysed. Whoever was told of
    a reading is told of what takes its place, however that ended."""
    priority_from_mm: float = Field(default=8.0, gt=0)
    """Largest mean diameter from which a reading is urgent: OBR-5 is S, the abnormal flag AA. 1000: none is."""

    def destination(self, ours: Secured | None = None) -> Destination:
        """As the domain knows it."""
        told = Outcome.NOT_ANALYSED in self.outcomes
        return Destination(self.name, self.host, self.port, (str(MessageKind.ORU),), told,
                           secured=self.secured(ours), protocol=Protocol.HL7)  # fmt: skip

    def receiver(self, ae_title: str) -> Receiver:
        """What messages to it say."""
        return Receiver(self.destination().place, self.sending_application or ae_title, self.sending_facility,
                        self.receiving_application, self.receiving_facility, frozenset(self.outcomes),
                        self.priority_from_mm)  # fmt: skip


class AuditRepositorySettings(BaseModel):
    """`[audit_repository]`: where every row of the audit trail goes as an audit message (PS3.15 A.5), by syslog."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    host: str = Field(min_length=1)
    """Name or address."""
    port: int = Field(default=6514, gt=0, lt=65536)
    """6514 is syslog over TLS; over UDP it mostly is 514."""
    transport: Literal["tls", "udp"] = "tls"
    """`tls`: its certificate is verified. `udp`: anybody on the way reads and forges what is told, and nothing tells
    whether it arrived."""
    authorities: Path | None = None
    """PEM file of who may have signed its certificate; unset: whom this system trusts."""
    certificate_name: str = ""
    """The name in its certificate, where that is not its host."""
    certificate: Path | None = None
    """PEM file of our own certificate, for a repository that asks for one..."""
    key: Path | None = Field(default=None, validate_default=True)
    """...and of its private key, without a password."""
    patient_ids: bool = True
    """Whether messages name patients by their Patient ID, as PS3.15 asks for. Names are never told."""
    site: str = ""
    """AuditEnterpriseSiteID of every message, where there are several sites."""

    @field_validator("key")
    @classmethod
    def _comes_with_its_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("certificate") is None):
            raise ValueError("certificate and key must be given together")
        return value

    def collector(self) -> Collector:
        """As who sends to it knows it."""
        return Collector(self.host, self.port, self.transport == "tls", self.authorities, self.certificate_name,
                         self.certificate, self.key)  # fmt: skip
