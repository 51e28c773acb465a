"""The tables of nodus.toml about earlier exams: whether they are compared, and the archive that has them, and more."""

from pydantic import BaseModel, ConfigDict, Field

from node.domain.peers import Destination, Secured
from node.settings.over_tls import OverTls
from node.settings.titles import AeTitle


class PriorSettings(BaseModel):
    """`[priors]`: earlier exams of the patient that are here, and what is done with them."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    compare: bool = True
    """Whether nodules are compared with those of the newest earlier chest CT of the same patient (id, issuer, and no
    other birth date or sex)."""
    max_age_days: int = Field(default=1826, gt=0)
    """The earlier exam is no older than this, by the StudyDates: five years."""
    read_unread: bool = True
    """Whether an earlier exam that was not read, or not by these models, is read for the comparison: it costs about as
    much time as the reading itself. Otherwise only those are taken that were."""


class ArchiveSettings(OverTls):
    """`[archive]`: where earlier exams are looked for and fetched from, before a chest CT is read, and images that were
    told of and did not come.

    It is asked by C-FIND (Study Root; STUDY level by Patient ID, IMAGE level by Series Instance UID) and C-MOVE to our
    AE title: the archive must know ours, with host and port, and be one of the senders.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    ae_title: AeTitle
    """Its AE title."""
    host: str
    """Name or address."""
    port: int = Field(gt=0, lt=65536)
    """TCP port."""
    wait_s: float = Field(default=45.0, gt=0, le=55)
    """A reading waits no longer than this for an earlier exam; then it goes on without, and says so. Nor does one
    question for missing images take longer."""
    connect_timeout_s: float = Field(default=5.0, gt=0, le=55)
    """For its TCP connection."""

    def destination(self, ours: Secured | None = None) -> Destination:
        """As the domain knows whom we call."""
        return Destination(self.ae_title, self.host, self.port, results=(), secured=self.secured(ours))
