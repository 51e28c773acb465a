"""One frozen Settings object: nodus.toml, then NODUS_ environment variables; read once."""

import json
import os
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from node.domain.delivery import ResultKind
from node.domain.job import HIGHEST_PRIORITY, LEAST_PRIORITY
from node.domain.peers import ANY_AE_TITLE, Destination, Sender, Standing
from node.domain.retention import Retention
from node.errors import SettingsError

LOOPBACK = ("127.0.0.0/8", "::1/128")


def _as_value_of_ae(title: str) -> str:
    if not (title.isascii() and title.isprintable()) or "\\" in title:
        raise ValueError("an AE title has ASCII letters, digits and signs, and no backslash (PS3.5 6.2)")
    return title


AeTitle = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=16),
    AfterValidator(_as_value_of_ae),
]
"""Blanks around it do not count (PS3.5 6.2)."""


class SenderSettings(BaseModel):
    """`[[senders]]`: somebody who may send."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ae_title: AeTitle = ANY_AE_TITLE
    """Calling AE title; `*` is any."""
    network: str
    """Address, or network in CIDR notation, that it calls from."""
    gapless_quiet_s: float = Field(default=3.0, gt=0)
    """Quiet after a gapless stack and a clean release, before a series counts as complete."""
    quiet_s: float = Field(default=15.0, gt=0)
    """Quiet without that evidence."""
    priority: int = Field(default=0, ge=LEAST_PRIORITY, le=HIGHEST_PRIORITY)
    """Of the analysis of its studies: each step goes before those below that came up to 10 minutes earlier."""
    max_study_age_days: int | None = Field(default=None, ge=0)
    """Its studies of a StudyDate before this are kept and not read: prefetched priors. Unset: none is too old."""

    @field_validator("network")
    @classmethod
    def _is_network(cls, value: str) -> str:
        return str(ip_network(value, strict=False))

    def sender(self) -> Sender:
        """As the domain knows it."""
        return Sender(
            self.ae_title,
            self.network,
            Standing.ALLOWED,
            self.gapless_quiet_s,
            self.quiet_s,
            priority=self.priority,
            max_study_age_days=self.max_study_age_days,
        )


class DestinationSettings(BaseModel):
    """`[[destinations]]`: a PACS that gets results."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ae_title: AeTitle
    """Its AE title."""
    host: str
    """Name or address."""
    port: int = Field(gt=0, lt=65536)
    """TCP port."""
    results: tuple[ResultKind, ...] = (ResultKind.SEG, ResultKind.SR)
    """What it gets: SEG, SR, SC."""
    not_analysed: bool = True
    """Whether it gets a short SR for a chest CT that was not analysed."""

    def destination(self) -> Destination:
        """As the domain knows it."""
        return Destination(self.ae_title, self.host, self.port, tuple(map(str, self.results)), self.not_analysed)


class Settings(BaseSettings):
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
    """Files of a finished study, all results of it delivered, are removed so many days after its last image came;
    unset: none is ever too old. Its rows stay, and it is never read again for images that it had."""
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
    tls_certificate: Path | None = None
    """PEM file of our certificate, its chain behind it. With `tls_key` the DICOM port speaks TLS, and only TLS."""
    tls_key: Path | None = Field(None, validate_default=True)
    """PEM file of its private key, without a password."""
    senders: tuple[SenderSettings, ...] = tuple(SenderSettings(network=network) for network in LOOPBACK)
    """Who may send; by default any AE title from this machine."""
    destinations: tuple[DestinationSettings, ...] = ()
    """Who gets results."""
    answer_timeout_s: float = Field(60.0, gt=0)
    """A destination that is silent for so long has failed, and gets the result again; large ones are granted more."""
    alert_webhook_url: str = Field("", pattern=r"^(https?://[^\s/@]+(/\S*)?)?$")
    """Where each alert is posted as JSON; empty: nowhere. HTTPS certificates are verified, redirects not followed."""
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

    @field_validator("tls_key")
    @classmethod
    def _comes_with_its_certificate(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if (value is None) != (info.data.get("tls_certificate") is None):
            raise ValueError("tls_certificate and tls_key must be given together")
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

    @property
    def retention(self) -> Retention:
        """As the domain knows it."""
        after = None if self.retention_days is None else timedelta(days=self.retention_days)
        return Retention(after, int(self.purge_below_free_gib * 2**30), self.purge_below_free_fraction)

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
