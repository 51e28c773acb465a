"""Forwards images as they came: the data set byte for byte, or uncompressed where the destination takes no other."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydicom.errors import InvalidDicomError
from pynetdicom.association import Association

from node.dicom import contexts
from node.dicom.store_scu import SLOWEST_BYTES_PER_S, Patience, associated, requestor
from node.domain.peers import Destination
from node.errors import BadInput, PeerFailed

Kind = tuple[str, str]
"""(SOP class, transfer syntax)."""


class Forwarder:
    """An open association to a destination of images."""

    def __init__(self, association: Association, kinds: Collection[Kind], answer_s: float) -> None:
        self._association = association
        self._answer_s = answer_s
        self.kinds = frozenset(kinds)
        """What it was made for."""
        self._accepted = {(str(each.abstract_syntax), str(each.transfer_syntax[0])) for each in
                          association.accepted_contexts}  # fmt: skip

    def syntax_for(self, kind: Kind) -> str | None:
        """The transfer syntax in which the destination takes an image of this kind: as it is stored, if it does."""
        sop_class, stored = kind
        ways = (stored, *map(str, contexts.UNCOMPRESSED))
        return next((syntax for syntax in ways if (sop_class, syntax) in self._accepted), None)

    def send(self, path: Path) -> int:
        """C-STORE one Part 10 file in the transfer syntax it is in; returns the status. Raises PeerFailed without one.

        Raises BadInput for a file that is no DICOM file, OSError for one that cannot be read.
        """
        self._association.dimse_timeout = self._answer_s + path.stat().st_size / SLOWEST_BYTES_PER_S
        try:
            answer = self._association.send_c_store(path)
        except (InvalidDicomError, AttributeError, KeyError, EOFError) as error:
            raise BadInput(f"The image's file is no DICOM file ({type(error).__name__}).") from error
        except (RuntimeError, ValueError) as error:
            raise PeerFailed("The association ended before the C-STORE.") from error
        if "Status" not in answer:
            raise PeerFailed("The destination did not answer a C-STORE.")
        return int(answer.Status)


@contextmanager
def connected(
    ae_title: str, patience: Patience, destination: Destination, kinds: Collection[Kind]
) -> Iterator[Forwarder]:
    """Associate with a destination for images of these kinds. Raises PeerFailed."""
    with associated(requestor(ae_title, patience), destination, contexts.offered_images(kinds)) as association:
        yield Forwarder(association, kinds, patience.answer_s)
