"""Sends one stored instance after another on an open association: as bytes from the disk, a PDU at a time."""

import hashlib
import queue
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.dimse_messages import C_STORE_RQ
from pynetdicom.dimse_primitives import C_STORE
from pynetdicom.pdu_primitives import P_DATA
from pynetdicom.presentation import PresentationContext

from node.dicom import contexts, pacing, statuses
from node.dicom.store_scu import SLOWEST_BYTES_PER_S
from node.domain.retrieval import Ended, Holding
from node.errors import BadInput
from node.headers.header import data_set_digest, skip_meta
from node.headers.recoding import Recoder, can_recode

LARGEST_FRAGMENT = 131072
"""Bytes; for peers that name no maximum, or a huge one."""
LOOK_EVERY_S = 0.1
MIDDLE = 0
"""Priority (PS3.7 9.1.1.1.5)."""


@dataclass(frozen=True)
class Originator:
    """Who asked with a C-MOVE; the destination is told (PS3.7 9.1.1.1)."""

    ae_title: str
    message_id: int


class Outgoing:
    """An association on which sub-operations go out."""

    def __init__(
        self,
        association: Association,
        absolute: Callable[[str], Path],
        recoder: Recoder,
        answer_s: float,
        originator: Originator | None = None,
    ) -> None:
        self._association = association
        self._absolute = absolute
        self._recoder = recoder
        self._answer_s = answer_s
        self._originator = originator
        self._sent = 0
        self.is_usable = True
        """False after a peer did not answer: nothing more can be sent on this association."""

    def send(self, holding: Holding, is_stopped: Callable[[], bool]) -> Ended:
        """One C-STORE, with the transfer syntax that is stored where the peer takes it. Never raises for a file or a
        peer: what cannot be sent has failed."""
        context = self._context_for(holding)
        if context is None or not holding.is_here or not self.is_usable:
            return Ended.FAILED
        try:
            status = self._send_file(holding, context, is_stopped)
        except (BadInput, OSError):
            return Ended.FAILED
        if status in statuses.STORED_WITH_WARNING:
            return Ended.WARNING
        return Ended.COMPLETED if status == statuses.SUCCESS else Ended.FAILED

    def _context_for(self, holding: Holding) -> PresentationContext | None:
        accepted = [
            context
            for context in self._association.accepted_contexts
            if context.abstract_syntax == holding.sop_class_uid and context.as_scu
        ]
        by_syntax = {str(context.transfer_syntax[0]): context for context in accepted}
        if holding.transfer_syntax_uid in by_syntax or not can_recode(holding.transfer_syntax_uid):
            return by_syntax.get(holding.transfer_syntax_uid)
        return next((by_syntax[str(each)] for each in contexts.UNCOMPRESSED if str(each) in by_syntax), None)

    def _send_file(self, holding: Holding, context: PresentationContext, is_stopped: Callable[[], bool]) -> int | None:
        """Raises BadInput for a file that is damaged or cannot be decoded, OSError for one that cannot be read."""
        path, syntax = self._absolute(holding.path), str(context.transfer_syntax[0])
        _require_whole(path, holding)
        if syntax == holding.transfer_syntax_uid:
            with path.open("rb") as file:
                return self._store(file, holding, context, is_stopped)
        with self._recoder.recoded(path, syntax) as other, other.open("rb") as file:
            return self._store(file, holding, context, is_stopped)

    def _store(
        self, file: BinaryIO, holding: Holding, context: PresentationContext, is_stopped: Callable[[], bool]
    ) -> int | None:
        """Send the data set of a Part 10 file; the status of the answer, None without one."""
        skip_meta(file)
        context_id = cast("int", context.context_id)
        for part in _command(self._request(holding)).encode_msg(context_id, self._association.dimse.maximum_pdu_size):
            self._association.dul.send_pdu(part)
        size = self._send_data_set(file, context_id, is_stopped)
        status = None if size is None else self._answer(self._answer_s + size / SLOWEST_BYTES_PER_S, is_stopped)
        if status is None:
            self.is_usable = False
        return status

    def _request(self, holding: Holding) -> C_STORE:
        self._sent = self._sent % 0xFFFF + 1
        request = C_STORE()
        request.MessageID = self._sent
        request.Priority = MIDDLE
        request.AffectedSOPClassUID = UID(holding.sop_class_uid)
        request.AffectedSOPInstanceUID = UID(holding.sop_instance_uid)
        if self._originator is not None:
            request.MoveOriginatorApplicationEntityTitle = self._originator.ae_title
            request.MoveOriginatorMessageID = self._originator.message_id
        return request

    def _send_data_set(self, file: BinaryIO, context_id: int, is_stopped: Callable[[], bool]) -> int | None:
        """How many bytes were sent; None where the peer takes no more."""
        announced = self._association.dimse.maximum_pdu_size or LARGEST_FRAGMENT
        most, sent = min(announced, LARGEST_FRAGMENT) - 6, 0
        fragment = file.read(most)
        while fragment:
            following = file.read(most)
            if is_stopped() or not pacing.wait_for_room(self._association, self._answer_s):
                return None
            part = P_DATA()
            part.presentation_data_value_list.append((context_id, (b"\0" if following else b"\2") + fragment))
            self._association.dul.send_pdu(part)
            sent += len(fragment)
            fragment = following
        return sent

    def _answer(self, within_s: float, is_stopped: Callable[[], bool]) -> int | None:
        """The status of a C-STORE-RSP; None where none comes in time, or nobody waits for it any more."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            try:
                _, response = self._association.dimse.msg_queue.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                if is_stopped() or not pacing.is_open(self._association):
                    return None
                continue
            is_ours = isinstance(response, C_STORE) and response.is_valid_response
            return int(response.Status) if is_ours else None
        return None


def _command(request: C_STORE) -> C_STORE_RQ:
    """The command alone; it says that a data set follows, which is sent apart."""
    request._dataset_path = (Path(), 0)
    message = C_STORE_RQ()
    message.primitive_to_message(request)
    message._data_set_path = None
    return message


def _require_whole(path: Path, holding: Holding) -> None:
    """Raises BadInput for a file that is not what was stored: half of it must not be on its way before that is seen."""
    if holding.is_result:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    else:
        digest = data_set_digest(path)
    if digest != holding.digest:
        raise BadInput("The file is damaged.")
