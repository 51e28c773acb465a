"""Job id to queue message; with file_broker.py the only file in node/ that knows Celery."""

from pathlib import Path
from typing import Any

from celery import Celery
from kombu.exceptions import KombuError

from node.errors import Unavailable

TASK = "nodus.run_job"
"""Name of the task that `workers.app` registers; node never imports workers."""
QUEUE = "nodus"


def settings_of(broker_url: str, data: Path) -> dict[str, Any]:
    """Celery's settings, the same for who sends and who works. `filesystem://` keeps its folders under `data`."""
    common: dict[str, Any] = {
        "broker_url": broker_url,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_default_queue": QUEUE,
        "broker_connection_retry_on_startup": True,
        "worker_hijack_root_logger": False,
    }
    if not broker_url.startswith("filesystem:"):
        return common
    folder = _with_folders(data / "broker")
    return common | {
        "broker_transport": "node.file_broker:Transport",
        "broker_transport_options": {
            "data_folder_in": str(folder / "messages"),
            "data_folder_out": str(folder / "messages"),
            "processed_folder": str(folder / "processed"),
            "control_folder": str(folder / "control"),
            "polling_interval": 0.1,
        },
    }


def _with_folders(folder: Path) -> Path:
    for name in ("messages", "processed", "control"):
        (folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
    return folder


class JobQueue:
    """Sends hints: "there is a job". A hint may be lost or doubled; SQL knows better.

    None expires: that is judged by the worker's clock, and one that is ahead would never do anything.
    """

    def __init__(self, broker_url: str, data: Path) -> None:
        self._folder = data / "broker" if broker_url.startswith("filesystem:") else None
        self._app = Celery("nodus-node", set_as_current=False)
        settings = settings_of(broker_url, data)
        at_once = {"max_retries": 0, "interval_start": 0}  # the flow tries again; nothing waits inside a publish
        settings["broker_transport_options"] = settings.get("broker_transport_options", {}) | at_once
        self._app.conf.update(settings)

    def publish(self, job_id: int) -> None:
        """Send one hint. Raises Unavailable when the broker does not take it."""
        try:
            if self._folder:
                _with_folders(self._folder)  # somebody may have tidied up, and neither Celery nor a worker makes them
            self._app.send_task(TASK, args=[job_id], queue=QUEUE, retry=False, ignore_result=True)
        except (OSError, KombuError) as error:
            raise Unavailable(f"The broker does not answer ({type(error).__name__}).") from error

    def close(self) -> None:
        """Give connections back."""
        self._app.close()
