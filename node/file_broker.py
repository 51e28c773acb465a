"""Celery's broker of files, with messages that are whole or not there.

kombu's writes them in place: who reads one that is being written, or that a killed writer left, gets no JSON, and ends.
"""

import logging
import os
import uuid
from pathlib import Path
from time import monotonic
from typing import Any

from kombu.exceptions import ChannelError
from kombu.transport import filesystem
from kombu.utils.json import dumps

log = logging.getLogger(__name__)


class Channel(filesystem.Channel):  # type: ignore[misc]
    """Where messages lie, and where they go (the folders of `queue.settings_of`)."""

    def _put(self, queue: str, payload: Any, **_: Any) -> None:
        """Raises ChannelError where the disk does not take it."""
        name = f"{round(monotonic() * 1000)}_{uuid.uuid4()}"
        aside = Path(self.data_folder_out) / f"{name}.part"  # no queue reads that
        try:
            aside.write_bytes(dumps(payload).encode())
            aside.rename(aside.with_name(f"{name}.{queue}.msg"))
        except OSError as error:
            raise ChannelError(f"No message can be written ({os.strerror(error.errno or 0)}).") from error

    def _get(self, queue: str) -> Any:
        """The next message; a file that is none is passed over, once: it is gone then."""
        while True:
            try:
                return super()._get(queue)
            except ValueError:
                log.warning("a file in the folder of the broker was no message")

    def get_table(self, exchange: str) -> list[Any]:
        """What is bound; nothing while that is being written."""
        try:
            return list(super().get_table(exchange))
        except ValueError:
            return []

    def _queue_bind(self, exchange: str, *args: Any) -> None:
        try:
            super()._queue_bind(exchange, *args)
        except ValueError:  # whoever wrote it was killed
            self._exchange_file(exchange).unlink(missing_ok=True)
            super()._queue_bind(exchange, *args)


class Transport(filesystem.Transport):  # type: ignore[misc]
    """For Celery's `broker_transport`."""

    Channel = Channel
