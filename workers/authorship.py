"""A reading, or the lack of one, as what results are encoded from: who signs it, under which identity."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import version

from pydicom import Dataset

from node.domain.outcome import Conclusion, Outcome
from node.domain.uids import ResultIdentity
from workers import pipeline
from workers.results import Equipment, Model, Predecessor, ResultRequest, Style


@dataclass(frozen=True)
class Author:
    """Who signs, when, and what it replaces."""

    ae_title: str
    installation_id: str
    created: datetime
    predecessor_uid: str = ""
    """SOP Instance UID of the report that this one replaces, in its first encoding."""
    predecessors: Mapping[str, Predecessor] = field(default_factory=dict)
    """By SOP class."""
    style: Style = field(default_factory=Style)

    def report(self, reading: pipeline.Reading, digests: Mapping[str, str], *, shadow: bool = False) -> ResultRequest:
        """A reading, to be encoded. `digests`: SOP Instance UID to SHA-256 of the data set.

        One in `shadow` says so, and never has the UIDs of one that is sent, should its model be used one day.
        """
        models = reading.models
        settings = f"shadow {models.settings_digest}" if shadow else models.settings_digest
        uids = [str(header.SOPInstanceUID) for header in reading.headers]
        sources = tuple((uid, digests[uid]) for uid in uids)
        return ResultRequest(
            conclusion=reading.conclusion,
            headers=reading.headers,
            identity=self._identity(sources, models.weights_sha256, settings),
            equipment=self._equipment(models.model),
            model=models.model,
            created=self.created,
            volume=reading.volume,
            findings=reading.findings,
            masks=reading.masks,
            more_findings=reading.more_findings,
            guidance=reading.guidance,
            comparison=reading.comparison,
            heat=reading.heat,
            shadow=shadow,
            predecessors=self.predecessors,
            style=self.style,
        )

    def notice(self, reasons: Sequence[str], header: Dataset, digest: str) -> ResultRequest:
        """Only that a study was not analysed, and why; `header` is of one of its images.

        No network has a part in it: it must be possible to say where weights are missing or broken, and a retry after
        they were replaced must say it under the same UIDs.
        """
        model = Model(pipeline.NAME, version("nodus"))
        said = hashlib.sha256("\n".join(reasons).encode()).hexdigest()
        return ResultRequest(
            conclusion=Conclusion(Outcome.NOT_ANALYSED, tuple(reasons)),
            headers=(header,),
            identity=self._identity(((str(header.SOPInstanceUID), digest),), "", said),
            equipment=self._equipment(model),
            model=model,
            created=self.created,
            predecessors=self.predecessors,
            style=self.style,
        )

    def _identity(self, sources: tuple[tuple[str, str], ...], weights: str, settings_digest: str) -> ResultIdentity:
        digest = self.style.digest(settings_digest)
        return ResultIdentity(sources, pipeline.VERSION, weights, digest, self.predecessor_uid)

    def _equipment(self, model: Model) -> Equipment:
        return Equipment(self.ae_title, self.installation_id, (f"Nodus {version('nodus')}", model.version))
