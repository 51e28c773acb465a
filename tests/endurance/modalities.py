"""Scanners that send study after study, and send again what was not acknowledged, as real ones do."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.endurance.exams import Exam
from tests.sender import Ended, Rejected, Scanner

PAUSE_S = 0.4
"""Between two studies of one scanner."""
RETRY_AFTER_S = 0.1


@dataclass
class Ledger:
    """What the node has acknowledged, and of which studies."""

    exams: dict[str, Exam] = field(default_factory=dict)
    """By Study Instance UID: everything of which sending has begun."""
    acknowledged: dict[str, str] = field(default_factory=dict)
    """SOP Instance UID to SHA-256 of the data set."""
    refused: dict[int, int] = field(default_factory=dict)
    """How often each status other than success was answered."""
    cut: int = 0
    """Associations that ended without a release."""
    sending: int = 0
    """Open associations."""
    finished_at: list[float] = field(default_factory=list)
    """When everything of a study was acknowledged, one moment for each, in s."""
    changed: threading.Condition = field(default_factory=threading.Condition)

    def begun(self, exam: Exam) -> None:
        """A modality begins to send a study."""
        with self.changed:
            self.exams[exam.study_uid] = exam

    def answered(self, sop_instance_uid: str, digest: str, status: int) -> None:
        """One C-STORE-RSP."""
        with self.changed:
            if status == 0:
                self.acknowledged[sop_instance_uid] = digest
            else:
                self.refused[status] = self.refused.get(status, 0) + 1
            self.changed.notify_all()

    @property
    def finished(self) -> int:
        """Studies of which everything is acknowledged."""
        return len(self.finished_at)

    def finish(self) -> None:
        """Everything of a study is acknowledged."""
        with self.changed:
            self.finished_at.append(time.monotonic())

    def count(self, cut: int = 0, sending: int = 0) -> None:
        """An association was cut, was opened, or is over."""
        with self.changed:
            self.cut += cut
            self.sending += sending

    def wait_for(self, count: int, within_s: float) -> bool:
        """Until so many more images are acknowledged."""
        with self.changed:
            wanted = len(self.acknowledged) + count
            return self.changed.wait_for(lambda: len(self.acknowledged) >= wanted, within_s)


class Modality(threading.Thread):
    """One scanner: one study after the other, each over an association of its own, and as many more as it takes."""

    def __init__(
        self,
        port: int,
        exams: Iterator[Exam],
        ledger: Ledger,
        may_send: Callable[[], bool] = lambda: True,
        pause_s: float = PAUSE_S,
    ) -> None:
        super().__init__(daemon=True)
        self._pause_s = pause_s
        self._port = port
        self._exams = exams
        self._ledger = ledger
        self._may_send = may_send
        self._enough = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Until told that it is enough; a study that was begun is sent to its end."""
        try:
            while not self._enough.is_set():
                if self._may_send():
                    exam = next(self._exams, None)
                    if exam is None:
                        return
                    self._send_all(exam)
                self._enough.wait(self._pause_s)
        except BaseException as error:
            self.failure = error
            raise

    def enough(self) -> None:
        """Begin no other study."""
        self._enough.set()

    def _send_all(self, exam: Exam) -> None:
        self._ledger.begun(exam)
        pause = threading.Event()
        while not self._send(exam):
            pause.wait(RETRY_AFTER_S)
        self._ledger.finish()

    def _send(self, exam: Exam) -> bool:
        """What is not acknowledged yet, over one association. True when nothing is left."""
        kinds = [(each.sop_class_uid, each.transfer_syntax_uid) for each in exam.payloads]
        try:
            one = Scanner(self._port, kinds, "MODALITY")
        except (Ended, Rejected, OSError):
            return False
        self._ledger.count(sending=1)
        try:
            for payload in exam.payloads:
                if payload.sop_instance_uid not in self._ledger.acknowledged:
                    status = one.store(payload).status
                    digest = hashlib.sha256(payload.data_set).hexdigest()
                    self._ledger.answered(payload.sop_instance_uid, digest, status)
            one.release()
        except (Ended, OSError):
            self._ledger.count(cut=1)
        finally:
            one.socket.close()
            self._ledger.count(sending=-1)
        return all(payload.sop_instance_uid in self._ledger.acknowledged for payload in exam.payloads)
