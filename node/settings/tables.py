"""The tables of nodus.toml: who may send, who gets results, which exams clinical rules apply to."""

from ipaddress import ip_network
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator

from node.domain.admins import Admin
from node.domain.commitment import Proof
from node.domain.delivery import ResultKind
from node.domain.exam import ExamRules, plain
from node.domain.job import HIGHEST_PRIORITY, LEAST_PRIORITY
from node.domain.peers import ANY_AE_TITLE, Destination, Secured, Sender, Standing
from node.domain.route import Pipeline
from node.settings.over_tls import OverTls
from node.settings.titles import AeTitle


class SenderSettings(BaseModel):
    """`[[senders]]`: somebody who may send."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ae_title: AeTitle = ANY_AE_TITLE
    """Calling AE title; `*` is any."""
    network: tuple[str, ...] = Field(min_length=1)
    """Address, or network in CIDR notation, that it calls from; a list where it has several."""
    gapless_quiet_s: float = Field(default=3.0, gt=0)
    """Quiet after a gapless stack and a clean release, before a series counts as complete."""
    quiet_s: float = Field(default=15.0, gt=0)
    """Quiet without that evidence."""
    priority: int = Field(default=0, ge=LEAST_PRIORITY, le=HIGHEST_PRIORITY)
    """Of the analysis of its studies: each step goes before those below that came up to 10 minutes earlier."""
    max_study_age_days: int | None = Field(default=None, ge=0)
    """Its studies of a StudyDate before this are kept and not read: prefetched priors. Unset: none is too old."""
    may_query: bool = True
    """Whether it may ask what is here (C-FIND)."""
    may_retrieve: bool = False
    """Whether it may fetch images and results (C-GET), or have them sent (C-MOVE). Off: who sends to Nodus has its own
    archive, and images of every sender's patients would be had by each."""
    pipeline: Pipeline = Pipeline.ANALYSE
    """`analyse` its studies, or only `store` them, where neither a rule nor the called AE title says so."""
    tls: bool = False
    """Whether it is heard over TLS alone."""
    called: tuple[AeTitle, ...] = ()
    """AE titles of ours that it may call; empty: any of them."""
    certificate: str = Field(default="", max_length=255)
    """It must come over TLS and show a certificate, signed by an authority of `tls_ca`, that has this name: its Common
    Name or a Subject Alternative Name. Empty: whatever certificate is good enough for the port."""
    count_at: AeTitle | None = None
    """AE title of one of the destinations, from which its studies come: it is asked by C-FIND how many images each
    series of a study has. All of them here: complete at once; fewer: it waits for the rest."""
    commitment_port: int | None = Field(default=None, gt=0, lt=65536)
    """TCP port, at the address that it calls from, where it takes our answers to storage commitment. With it we commit
    to what it sends and what stays: everything where nothing is ever removed (no `retention_days`, no
    `purge_below_...`), else what it is forwarded to has committed to. Unset: we commit to nothing."""
    commitment_tls: bool = False
    """Whether it is called back over TLS."""

    @field_validator("network", mode="before")
    @classmethod
    def _one_is_a_list(cls, value: object) -> object:
        return (value,) if isinstance(value, str) else value

    @field_validator("network")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(str(ip_network(each, strict=False)) for each in value)

    def senders(self) -> list[Sender]:
        """As the domain knows it: one for each network."""
        return [
            Sender(
                self.ae_title,
                network,
                Standing.ALLOWED,
                self.gapless_quiet_s,
                self.quiet_s,
                priority=self.priority,
                max_study_age_days=self.max_study_age_days,
                pipeline=self.pipeline,
                tls_required=self.tls,
                called=self.called,
                may_query=self.may_query,
                may_retrieve=self.may_retrieve,
                certificate=self.certificate,
                count_at=self.count_at or "",
                commitment_port=self.commitment_port or 0,
                commitment_tls=self.commitment_tls,
            )
            for network in self.network
        ]


class DestinationSettings(OverTls):
    """`[[destinations]]`: a PACS that gets results."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ae_title: AeTitle
    """Its AE title."""
    host: str
    """Name or address."""
    port: int = Field(gt=0, lt=65536)
    """TCP port."""
    results: tuple[ResultKind, ...] = (ResultKind.SEG, ResultKind.SR)
    """What it gets, of SEG, SR, KOS (key images), GSPS (circles and labels on them), PDF (one page), SC (a picture) and
    PM (the detector's scores around each nodule); always in that order. What no destination wants is not made."""
    not_analysed: bool = True
    """Whether it gets a short SR, and the PDF where `results` has it, for a chest CT that was not analysed."""
    commitment: Proof = Proof.OFF
    """How it is asked, once it stored all results of a study, to confirm that it has them: `off` not at all,
    `commitment` by storage commitment (by C-FIND where it offers none), `find` by C-FIND. With it a result is
    *committed* at the end, and only such studies are removed by retention. To answer on an association of its own
    it must be one of the senders."""
    retrieve: bool = True
    """Whether a sender with `may_retrieve` may have images and results sent to it (C-MOVE). With `results = []` and
    `not_analysed = false` it gets nothing else."""

    def destination(self, ours: Secured | None = None) -> Destination:
        """As the domain knows it."""
        results = tuple(map(str, self.results))
        told = (results, self.not_analysed, self.commitment, self.retrieve, self.secured(ours))
        return Destination(self.ae_title, self.host, self.port, *told)


class AdminSettings(BaseModel):
    """`[[admins]]`: who may ask for the node's own state by C-FIND, and order or stop work by Unified Procedure Step.

    It must be one of the senders, too: others are not heard at all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ae_title: AeTitle
    """Calling AE title."""
    network: str
    """Address, or network in CIDR notation, that it calls from."""

    @field_validator("ae_title")
    @classmethod
    def _is_one(cls, value: str) -> str:
        if value == ANY_AE_TITLE:
            raise ValueError("an admin is named: `*` would make everybody one")
        return value

    @field_validator("network")
    @classmethod
    def _is_network(cls, value: str) -> str:
        return str(ip_network(value, strict=False))

    def admin(self) -> Admin:
        """As the domain knows it."""
        return Admin(self.ae_title, self.network)


class SubscriberSettings(OverTls):
    """`[[subscribers]]`: where somebody listens who may subscribe to events of Unified Procedure Steps; destinations
    of results may anyway."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ae_title: AeTitle
    """Its AE title, the Receiving AE of a subscription."""
    host: str
    """Name or address."""
    port: int = Field(gt=0, lt=65536)
    """TCP port."""

    def destination(self, ours: Secured | None = None) -> Destination:
        """As the domain knows it; no results go there."""
        return Destination(self.ae_title, self.host, self.port, (), secured=self.secured(ours))


def _with_a_letter(word: str) -> str:
    if not plain(word):
        raise ValueError("a word has at least one letter or digit: without one it would be found in every text")
    return word.strip()


Word = Annotated[str, AfterValidator(_with_a_letter)]


class GuidelineSettings(BaseModel):
    """`[guidelines]`: which exams get Lung-RADS (screening), which Fleischner (incidental nodules); others get neither.

    Words are looked for in Requested Procedure Description, Study Description and Protocol Name: whole words, in any
    case, whatever stands between them ("lung screening" is in "CT_LUNG-SCREENING low dose"). A hit of `screening_...`
    goes before one of `incidental_...`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    screening_words: tuple[Word, ...] = ()
    """Words that only requests and protocols of lung cancer screening have. A "no screening" has "screening"."""
    screening_senders: tuple[AeTitle, ...] = ()
    """AE titles that send screening exams alone; `*` is any."""
    incidental_words: tuple[Word, ...] = ()
    """Words that only exams have that were made for something else than lung nodules or cancer."""
    incidental_senders: tuple[AeTitle, ...] = ()
    """AE titles that send such exams alone; `*` is any: then all that is not screening."""

    def rules(self) -> ExamRules:
        """As the domain knows it."""
        return ExamRules(self.screening_words, self.screening_senders, self.incidental_words, self.incidental_senders)
