"""One frozen Settings object: nodus.toml, then NODUS_ environment variables; read once."""

import json
import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from node.domain.commitment import Proof
from node.domain.language import Language
from node.domain.peers import Destination, Secured, Sender
from node.domain.retention import Retention
from node.errors import SettingsError
from node.settings.priors import ArchiveSettings, PriorSettings
from node.settings.routing import AeSettings, RuleSettings
from node.settings.security import ClientCertificates, SecuritySettings
from node.settings.tables import (
    AdminSettings,
    DestinationSettings,
    GuidelineSettings,
    SenderSettings,
    SubscriberSettings,
)
from node.settings.telling import AuditRepositorySettings, Hl7Settings
from node.settings.titles import AeTitle

__all__ = ["ClientCertificates", "Settings", "load"]

LOOPBACK = ("127.0.0.0/8", "::1/128")


class Settings(SecuritySettings):
    """How this node runs. Every field can be set in nodus.toml or as NODUS_<FIELD>."""

    model_config = SettingsConfigDict(
        env_prefix="NODUS_",
        toml_file=None,
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )

    data: Path = Path("nodus-data")
    """Data directory: spool, results, database, broker, keys. Created with mode 0700."""
    host: str = "127.0.0.1"
    """Address to listen on, for DICOM and for the web; loopback unless you say otherwise, `::` is every address."""
    port: int = Field(11112, ge=0, lt=65536)
    """DICOM port; 0 picks a free one."""
    ae_title: AeTitle = "NODUS"
    """Our AE title."""
    web_port: int = Field(8080, ge=0, lt=65536)
    """Port of /healthz, /readyz and /metrics; 0 picks a free one."""
    database_url: str = ""
    """SQLAlchemy URL; empty is SQLite in the data directory."""
    broker_url: str = "filesystem://"
    """Celery broker; `filesystem://` keeps messages in the data directory, redis:// is for production."""
    receivers: int = Field(default_factory=lambda: max(2, min(4, os.cpu_count() or 1)), ge=1, le=64)
    """Processes that receive; several associations at once are spread over them."""
    worker: bool | None = None
    """Whether `nodus up` runs a worker itself; unset: yes with the filesystem broker, no with another."""
    worker_slots: int = Field(1, ge=1, le=64)
    """Jobs that one worker runs at once (one per GPU). More than one needs Redis: with the filesystem broker a study
    that kills its child of the worker ends the whole worker, and its neighbours would die with it."""
    lease_s: float = Field(60.0, gt=1)
    """A worker that is silent for so long has lost its job."""
    job_time_limit_s: float = Field(1800.0, gt=1)
    """A job that takes longer is stopped."""
    minimum_free_gib: float = Field(10.0, ge=0)
    """Nothing is received (0xA700) with less free than this..."""
    minimum_free_fraction: float = Field(0.10, ge=0, lt=1)
    """...or with less than this part of the disk."""
    retention_days: float | None = Field(None, gt=0)
    """Files of a finished study, all results of it delivered (committed, where that is asked for), are removed so many
    days after its last image came; unset: none is ever too old. Its rows stay, and it is never read again for images
    that it had."""
    purge_below_free_gib: float = Field(0.0, ge=0)
    """With less free than this the oldest finished studies go; both marks 0: never for want of space..."""
    purge_below_free_fraction: float = Field(0.0, ge=0, lt=1, validate_default=True)
    """...or with less than this part of the disk. Both lie above the marks that stop reception."""
    maximum_pdu_bytes: int = Field(131072, ge=4096)
    """Largest P-DATA-TF value that we announce."""
    maximum_associations: int = Field(100, ge=1, le=1000)
    """Associations open at once, over all receiver processes; more are refused for the moment."""
    maximum_associations_per_peer: int = Field(20, ge=1, le=1000)
    """The same, from one address."""
    request_timeout_s: float = Field(5.0, gt=0)
    """A connection that has not become an association for so long, TLS handshake included, is closed."""
    network_timeout_s: float = Field(60.0, gt=0)
    """A peer that is silent for so long is aborted."""
    refusals_every_s: float = Field(60.0, gt=0)
    """A caller that is refused again and again is written down at once, then summed up so often."""
    maximum_matches: int = Field(5000, ge=1, le=1_000_000)
    """Answers to one C-FIND; where there would be more, it ends with A700 (out of resources) after so many."""
    senders: tuple[SenderSettings, ...] = tuple(SenderSettings(network=(network,)) for network in LOOPBACK)
    """Who may send; by default any AE title from this machine."""
    aes: tuple[AeSettings, ...] = ()
    """AE titles that are ours beside `ae_title`, each with its own routing."""
    rules: tuple[RuleSettings, ...] = ()
    """What is done with which study: the first rule that matches decides. None: all are read where they can be."""
    destinations: tuple[DestinationSettings, ...] = Field((), validate_default=True)
    """Who gets results."""
    admins: tuple[AdminSettings, ...] = ()
    """Who may ask for the node's own state over DICOM, and order or stop work; nobody unless said."""
    subscribers: tuple[SubscriberSettings, ...] = ()
    """Where those listen who subscribe to Unified Procedure Steps and are no destinations."""
    worklist_ae_title: str = Field("", max_length=16, pattern=r"^[\x21-\x7e]?([\x20-\x7e]*[\x21-\x7e])?$")
    """AE title under which the jobs are served as a Modality Worklist, another than `ae_title`. Empty, the default: not
    at all, because a scanner that is set to it by mistake would show AI jobs as exams."""
    hl7: tuple[Hl7Settings, ...] = ()
    """Who is told of results by HL7 v2 messages."""
    guidelines: GuidelineSettings = GuidelineSettings()
    """Which exams clinical rules are applied to; none unless said, because a clinician must agree to them first."""
    priors: PriorSettings = PriorSettings()
    """Whether and with which earlier exams nodules are compared."""
    archive: ArchiveSettings | None = None
    """Where earlier exams and missing images are fetched from; unset: there is only what was sent here."""
    language: Language = Language.EN
    """Of everything in results that people read, meanings of codes included: `en`, `zh` or `de`. Series descriptions,
    logs and commands stay English."""
    report_outlines: bool = True
    """Whether a report also outlines each nodule on its key image (TID 1410), for viewers that show no segmentation."""
    answer_timeout_s: float = Field(60.0, gt=0)
    """A destination that is silent for so long has failed, and gets the result again; large ones are granted more."""
    commitment_timeout_s: float = Field(3600.0, gt=0, le=7 * 86400)
    """A destination that did not answer for so long whether it has its results is asked again, then after twice that,
    up to a day; after three days a person is told."""
    alert_webhook_url: str = Field("", pattern=r"^(https?://[^\s/@]+(/\S*)?)?$")
    """Where each alert is posted as JSON; empty: nowhere. HTTPS certificates are verified, redirects not followed."""
    audit_repository: AuditRepositorySettings | None = None
    """Where every row of the audit trail is told, as PS3.15 A.5 says it; unset: nowhere."""
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$")
    """Least severe log line that is written to stderr."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Command line before environment before file."""
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls)

    @field_validator("worker_slots")
    @classmethod
    def _no_job_dies_with_another(cls, value: int, info: ValidationInfo) -> int:
        if value > 1 and info.data.get("broker_url", "").startswith("filesystem:"):
            raise ValueError("more than one needs Redis as broker_url; with files a worker does one job at a time")
        return value

    @field_validator("senders")
    @classmethod
    def _are_asked_for_certificates(
        cls, value: tuple[SenderSettings, ...], info: ValidationInfo
    ) -> tuple[SenderSettings, ...]:
        named = [each.ae_title for each in value if each.certificate]
        for needed in ("tls_certificate", "tls_ca"):
            if named and info.data.get(needed) is None:
                raise ValueError(f"the certificate of {named[0]} can be checked only with {needed}")
        return value

    @field_validator("hl7")
    @classmethod
    def _are_no_destinations_twice(
        cls, value: tuple[Hl7Settings, ...], info: ValidationInfo
    ) -> tuple[Hl7Settings, ...]:
        known = {each.destination().place for each in info.data.get("destinations", ())}
        if len({each.destination().place for each in value} - known) < len(value):
            raise ValueError("name, host and port of each must be its own, and of no destination")
        return value

    @field_validator("destinations")
    @classmethod
    def _is_kept_what_is_committed(
        cls, value: tuple[DestinationSettings, ...], info: ValidationInfo
    ) -> tuple[DestinationSettings, ...]:
        asking = [each.ae_title for each in info.data.get("senders", ()) if each.commitment_port]
        routes = [*info.data.get("aes", ()), *info.data.get("rules", ())]
        forwarded = {title for each in routes for title in each.forward or ()}
        commits = any(each.commitment is Proof.COMMITMENT and each.ae_title in forwarded for each in value)
        marks = ("retention_days", "purge_below_free_gib", "purge_below_free_fraction")
        for purging in (name for name in marks if asking and not commits and info.data.get(name)):
            text = f"with {purging} images are removed, and they are forwarded to no destination with commitment"
            raise ValueError(f'{text} = "commitment": nothing can be committed to {asking[0]}')
        return value

    @field_validator("destinations")
    @classmethod
    def _are_there_to_count(
        cls, value: tuple[DestinationSettings, ...], info: ValidationInfo
    ) -> tuple[DestinationSettings, ...]:
        asked = {each.count_at for each in info.data.get("senders", ()) if each.count_at}
        missing = sorted(asked - {each.ae_title for each in value})
        if missing:
            raise ValueError(f"a sender has count_at = {missing[0]!r}, and no destination has that AE title")
        return value

    @field_validator("purge_below_free_fraction")
    @classmethod
    def _purges_before_it_refuses(cls, value: float, info: ValidationInfo) -> float:
        given = info.data | {"purge_below_free_fraction": value}
        for unit in ("gib", "fraction"):
            mark, refusing = given.get(f"purge_below_free_{unit}", 0), given.get(f"minimum_free_{unit}", 0)
            if (value or given.get("purge_below_free_gib")) and refusing and mark <= refusing:
                text = f"purge_below_free_{unit} must lie above minimum_free_{unit} ({refusing:g})"
                raise ValueError(f"{text}, or reception stops before anything is removed")
        return value

    @field_validator("worklist_ae_title")
    @classmethod
    def _is_a_title_of_its_own(cls, value: str, info: ValidationInfo) -> str:
        if "\\" in value:
            raise ValueError("an AE title has no backslash (PS3.5 6.2)")
        if value and value == info.data.get("ae_title"):
            raise ValueError("the worklist needs another AE title than ae_title")
        return value

    @property
    def event_receivers(self) -> tuple[Destination, ...]:
        """Who can be told of events, each AE title once: subscribers before destinations."""
        known = [
            *(each.destination(self.secured) for each in self.subscribers),
            *self.wanted_destinations(),
        ]
        first: dict[str, Destination] = {}
        for each in known:
            first.setdefault(each.ae_title, each)
        return tuple(first.values())

    @property
    def retention(self) -> Retention:
        """As the domain knows it."""
        after = None if self.retention_days is None else timedelta(days=self.retention_days)
        return Retention(after, int(self.purge_below_free_gib * 2**30), self.purge_below_free_fraction)

    def all_senders(self) -> list[Sender]:
        """Who may send, one for each network."""
        return [sender for each in self.senders for sender in each.senders()]

    @property
    def secured(self) -> Secured:
        """What we speak TLS to others with, where they name no files of their own."""
        return Secured(*(str(each or "") for each in (self.tls_ca, self.tls_certificate, self.tls_key)))

    def wanted_destinations(self) -> list[Destination]:
        """Those by DICOM, as the domain knows them."""
        return [each.destination(self.secured) for each in self.destinations]

    def all_destinations(self) -> list[Destination]:
        """Those by DICOM, then those by HL7."""
        return self.wanted_destinations() + [each.destination(self.secured) for each in self.hl7]

    @property
    def database(self) -> str:
        """The URL in force."""
        return self.database_url or f"sqlite:///{self.data.absolute() / 'nodus.db'}"

    @property
    def runs_worker(self) -> bool:
        """Whether `nodus up` starts a worker."""
        return self.broker_url.startswith("filesystem:") if self.worker is None else self.worker

    def environment(self) -> dict[str, str]:
        """The variables that give a child process these very settings."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {
            f"NODUS_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
            for name, value in values.items()
        } | {"NODUS_DATA": str(self.data.absolute())}


def load(config: Path | None = None, **given: Any) -> Settings:
    """Read the settings once. `given` are command line options; None means not given. Raises SettingsError."""
    named = config or os.environ.get("NODUS_CONFIG")
    file = Path(named or "nodus.toml")
    if named and not file.is_file():
        raise SettingsError(f"There is no settings file {file}.")

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file if file.is_file() else None)

    try:
        read = FromFile(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise SettingsError(f"Setting {'.'.join(map(str, first['loc']))}: {first['msg']}.") from None
    except ValueError as error:
        raise SettingsError(f"The settings cannot be read: {error}.") from None
    return read
