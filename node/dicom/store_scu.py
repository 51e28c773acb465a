"""Sends results: one association, instance by instance, each as the bytes that are on disk."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pydicom.uid import UID, ExplicitVRLittleEndian
from pynetdicom import AE, build_role, evt
from pynetdicom.association import Association
from pynetdicom.pdu_primitives import SCP_SCU_RoleSelectionNegotiation
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification
from pynetdicom.utils import set_ae

from node.dicom import contexts
from node.dicom.answers import keep_answers
from node.domain.peers import Destination
from node.errors import BadInput, NotTrusted, PeerFailed, SettingsError
from node.headers.meta import IMPLEMENTATION_CLASS_UID
from node.tls import ClientContext, client_context


@dataclass(frozen=True)
class Patience:
    """How long to wait for a destination, in seconds."""

    connect_s: float = 10.0
    """For its TCP connection."""
    answer_s: float = 60.0
    """For each answer, that to the association included."""


Handlers = Sequence[tuple[evt.EventType, Callable[..., object]]]
"""What pynetdicom calls while an association is open."""
Associate = Callable[..., Association]
"""pynetdicom's, but for whom to associate with."""
SLOWEST_BYTES_PER_S = 125_000
"""1 Mbit/s: a large segmentation over a thin line takes its time before anybody can answer."""
ECHO_PATIENCE = Patience(connect_s=5.0, answer_s=5.0)
"""Somebody waits at a terminal."""


class Sending:
    """An open association to a destination."""

    def __init__(self, association: Association, answer_s: float) -> None:
        self._association = association
        self._answer_s = answer_s
        self._accepted = {
            (context.abstract_syntax, context.transfer_syntax[0]) for context in association.accepted_contexts
        }

    @property
    def accepted_sop_classes(self) -> frozenset[str]:
        """What the destination takes."""
        return frozenset(str(sop_class) for sop_class, _ in self._accepted)

    def send(self, path: Path, sop_class_uid: str) -> int:
        """C-STORE one Part 10 file in Explicit VR Little Endian; returns the status. Raises PeerFailed without one.

        The data set goes out as the bytes of the file; only who insists on Implicit VR gets it re-encoded.
        Raises BadInput for a file that is no DICOM file, OSError for one that cannot be read.
        """
        as_it_is = (UID(sop_class_uid), ExplicitVRLittleEndian) in self._accepted
        self._association.dimse_timeout = self._answer_s + path.stat().st_size / SLOWEST_BYTES_PER_S
        try:
            answer = self._association.send_c_store(path if as_it_is else dcmread(path))
        except (InvalidDicomError, AttributeError, KeyError, EOFError) as error:
            raise BadInput(f"The result's file is no DICOM file ({type(error).__name__}).") from error
        except (RuntimeError, ValueError) as error:
            raise PeerFailed("The association ended before the C-STORE.") from error
        if "Status" not in answer:
            raise PeerFailed("The destination did not answer a C-STORE.")
        return int(answer.Status)


def requestor(ae_title: str, patience: Patience) -> AE:
    """Who we are towards a destination."""
    ae = AE(ae_title)
    ae.implementation_class_uid = IMPLEMENTATION_CLASS_UID
    ae.connection_timeout = patience.connect_s
    ae.acse_timeout = ae.dimse_timeout = ae.network_timeout = patience.answer_s
    return ae


@contextmanager
def connected(ae_title: str, patience: Patience, destination: Destination) -> Iterator[Sending]:
    """Associate with a destination for every kind of result; where it gets none, to see whether it is there.

    Raises PeerFailed.
    """
    offered = contexts.offered_results() if destination.results else contexts.offered_echo()
    with associated(requestor(ae_title, patience), destination, offered) as association:
        yield Sending(association, patience.answer_s)


def echo(ae_title: str, destination: Destination, patience: Patience = ECHO_PATIENCE) -> None:
    """C-ECHO. Raises PeerFailed with the reason."""
    ae = requestor(ae_title, patience)
    ae.add_requested_context(Verification)
    with associated(ae, destination, ae.requested_contexts) as association:
        answer = association.send_c_echo()
        if answer.get("Status") != 0x0000:
            raise PeerFailed("The destination did not answer the C-ECHO with success.")


@contextmanager
def associated(
    ae: AE,
    destination: Destination,
    offered: list[PresentationContext],
    handlers: Handlers = (),
    roles: Sequence[SCP_SCU_RoleSelectionNegotiation] = (),
) -> Iterator[Association]:
    """An association with a destination, released at the end; aborted where it failed. Raises PeerFailed."""
    tls = _tls(destination)
    negotiated = [*roles, *_roles(offered)]
    asked = partial(ae.associate, contexts=offered, evt_handlers=list(handlers), ext_neg=negotiated)
    association = _requested(asked, destination, tls)
    try:
        if not association.is_established and tls is not None and tls.failure:
            raise NotTrusted(f"{_place(destination)}: no TLS handshake: {tls.failure}.")
        if not association.is_established:
            raise PeerFailed(_why(association, destination))
        _wait_no_longer(association, ae.dimse_timeout)
        yield keep_answers(association)
    except PeerFailed:
        association.abort()  # who did not answer would not answer a release either
        _close(association)
        raise
    finally:
        if association.is_established:
            association.release()


def _tls(destination: Destination) -> ClientContext | None:
    """For one association: files that were replaced count from the next one on. Raises PeerFailed for bad ones."""
    try:
        return client_context(destination.secured) if destination.secured else None
    except SettingsError as error:
        raise PeerFailed(f"{_place(destination)}: {error}") from None


def _requested(associate: Associate, destination: Destination, tls: ClientContext | None) -> Association:
    """Raises PeerFailed already where there is nobody to ask."""
    try:
        set_ae(destination.ae_title, "ae_title")  # `associate` asks that too, and drops a socket unclosed
        return associate(
            destination.host,
            destination.port,
            ae_title=destination.ae_title,
            tls_args=tls and (tls, (destination.secured and destination.secured.name) or destination.host),
        )
    except OSError as error:  # its name is looked up before pynetdicom catches anything
        raise PeerFailed(f"{_place(destination)}: its host cannot be found.") from error
    except ValueError as error:
        raise PeerFailed(f"{_place(destination)}: no valid host name or AE title.") from error


def _roles(offered: list[PresentationContext]) -> list[SCP_SCU_RoleSelectionNegotiation]:
    """Contexts that say which roles we want (PS3.7 D.3.3.4); the others are ours as SCU."""
    return [build_role(each.abstract_syntax, each.scu_role, each.scp_role) for each in offered if each.scp_role]


def _close(association: Association) -> None:
    """pynetdicom leaves a socket open whose peer is gone already."""
    connection = association.dul.socket
    if connection is not None and connection.socket is not None:
        connection.socket.close()


def _wait_no_longer(association: Association, answer_s: float) -> None:
    """A destination that stops reading would hold pynetdicom's sending thread for ever, and us with it."""
    association.dul.socket.socket.settimeout(answer_s)


def _why(association: Association, destination: Destination) -> str:
    place = _place(destination)
    if association.is_rejected:
        return f"{place} rejected the association: allow our AE title there."
    if association.is_aborted:
        return f"{place} cannot be reached, or ended the association at once."
    return f"{place} accepted none of our presentation contexts."


def _place(destination: Destination) -> str:
    return f"{destination.ae_title} at {destination.host}:{destination.port}"
