"""The Celery app: queues, time limits, late acknowledgement."""

import logging
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from celery import Celery, signals
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from node import logs, queue
from node.catalog import jobs
from node.catalog.instant import now_of
from node.errors import CatalogError, NodusError, SettingsError, Unavailable
from node.settings import Settings, load
from workers.tasks import perform
from workers.workplace import Workplace

log = logging.getLogger(__name__)

BEAT_EVERY_S = 5.0
PREPARE_WITHIN_S = 120.0
"""Importing torch and reading the weights, on a machine that is busy."""
COURTESY = 5
"""Niceness of a pool's child. On a host that both share, images and reports go first, which take little: a reading has
what they leave, and a third of a processor that is fought for."""
CHILD_CHECK_S = 1.0
COLD_END_WITHIN_S = 4.0
"""Time for children to give their jobs back; less than a node has to end."""
at_work = threading.Lock()
"""Held, in a pool's child, while it does a job."""


def make_app(settings: Settings) -> Celery:
    """A Celery app that runs jobs; everything it needs to know comes from the settings."""
    celery = Celery("nodus", set_as_current=False)
    celery.conf.update(queue.settings_of(settings.broker_url, settings.data.absolute()))
    celery.conf.update(
        task_acks_late=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=settings.worker_slots,
        task_time_limit=settings.job_time_limit_s,
        worker_send_task_events=False,
        worker_log_color=False,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=PREPARE_WITHIN_S,
        worker_cancel_long_running_tasks_on_connection_loss=False,
    )
    if settings.broker_url.startswith("redis"):
        celery.conf.broker_transport_options = {"visibility_timeout": 2 * settings.job_time_limit_s}
    workplace = Workplace(settings)

    @celery.task(name=queue.TASK)
    def run_job(job_id: int) -> None:
        """Do one job; nothing happens when somebody else has it."""
        with at_work:
            perform(workplace, job_id)

    return celery


def beat(settings: Settings, name: str, stop: threading.Event) -> None:
    """Say every few seconds that this worker is there, so that jobs are published for it; take it back at the end."""
    workplace = Workplace(settings)
    while not stop.is_set():
        _tell(workplace, lambda session: jobs.worker_seen(session, name, settings.worker_slots, now_of(session)))
        stop.wait(BEAT_EVERY_S)
    _tell(workplace, lambda session: jobs.worker_gone(session, name))


def _tell(workplace: Workplace, what: Callable[[Session], None]) -> None:
    """One that fails is made good by the next; silence for good would stop every job. A database of another version is
    waited for: a node brings it up to date at its start.
    """
    try:
        with workplace.catalog.writing() as session:
            what(session)
    except (SQLAlchemyError, Unavailable, CatalogError) as error:
        said = {"reason": str(error)} if isinstance(error, NodusError) else {}
        log.warning("the worker could not say that it is there", extra={"error": type(error).__name__} | said)
    except SettingsError as error:
        log.critical("this worker is set up for another node, and ends", extra={"reason": str(error)})
        os.kill(os.getpid(), signal.SIGTERM)


def prepare_or_end(data: Path) -> None:
    """In a new child of the pool: load the networks, and all else that a job needs, since a signal in an import is told
    as an import that failed. Where that fails the whole worker ends, before it takes a job."""
    try:
        import_module("workers.report")
        from workers import pipeline  # here: torch's threads do not survive a fork
        from workers.models import chosen

        pipeline.prepare(chosen(data))
    except Exception as error:
        reason = str(error) if isinstance(error, NodusError) else type(error).__name__
        log.critical("this worker cannot read anything, and ends", extra={"reason": reason}, exc_info=error)
        os.kill(os.getppid(), signal.SIGTERM)
        os._exit(os.EX_UNAVAILABLE)


def end_at_last(how: str) -> None:
    """End when a cold end takes too long: Celery waits for ever for a lock that a child had when it was ended."""
    if how == "Cold":
        time.sleep(COLD_END_WITHIN_S)
        os._exit(os.EX_TEMPFAIL)


def end_with_child(pool: Any, stop: threading.Event) -> None:
    """End at once when a child of the pool was killed, to be started again by who started us.

    With a broker that is no socket the children share one pipe, and who waits on it holds its lock: one that dies so
    takes the lock with it, and its successor would wait for ever, while we say that we are there.
    """
    children = set(pool.info["processes"])
    while not stop.wait(CHILD_CHECK_S):
        if not children <= set(pool.info["processes"]):
            log.error("a child of the pool was killed: this worker ends")
            os._exit(os.EX_TEMPFAIL)  # an orderly end would wait for the lock, too


def end_with_main(main: int) -> None:
    """In a pool's child: end when the main process has, after the job in hand.

    It would see that itself where it waits for a job, but not where it waits for a lock that a killed sibling has taken
    along: there it would stay for ever.
    """
    while os.getppid() == main:
        time.sleep(CHILD_CHECK_S)
    with at_work:
        os._exit(os.EX_TEMPFAIL)


def end_with_parent() -> None:
    """Wait for the end of standard input, which a node holds open, then end like after SIGTERM, or at last without."""
    while os.read(0, 1024):  # not sys.stdin: a pool's child closes it, and would wait for our lock on it
        continue
    os.kill(os.getpid(), signal.SIGTERM)
    end_at_last("Cold")  # here, too: Celery says that it shuts down only after it has waited for its pool


def _register_signals(settings: Settings) -> None:
    stop = threading.Event()
    prepared = multiprocessing.Event()  # set by the pool's children, which inherit it
    main = os.getpid()
    name = f"{socket.gethostname()}-{main}"

    def beat_when_prepared() -> None:
        while not (stop.is_set() or prepared.wait(1.0)):
            continue
        beat(settings, name, stop)

    @signals.worker_ready.connect(weak=False)
    def ready(sender: Any, **_: Any) -> None:
        threading.Thread(target=beat_when_prepared, daemon=True).start()
        if settings.broker_url.startswith("filesystem:"):
            threading.Thread(target=end_with_child, args=(sender.pool, stop), daemon=True).start()

    @signals.worker_process_init.connect(weak=False)
    def prepare_child(**_: Any) -> None:
        os.nice(COURTESY)
        threading.Thread(target=end_with_main, args=(main,), daemon=True).start()
        prepare_or_end(settings.data)
        prepared.set()

    @signals.worker_shutting_down.connect(weak=False)
    def stopping(how: str, **_: Any) -> None:
        stop.set()
        threading.Thread(target=end_at_last, args=(how,), daemon=True).start()

    @signals.setup_logging.connect(weak=False)
    def logging_is_ours(**_: Any) -> None:
        logs.configure(settings.log_level)


settings = load()
app = make_app(settings)  # created at import because `celery -A workers.app` looks for it here
_register_signals(settings)


def main() -> None:
    """Run a worker as the child of a node."""
    logs.configure(settings.log_level)
    if os.environ.get("NODUS_EMBEDDED") == "1":
        threading.Thread(target=end_with_parent, daemon=True).start()
    app.worker_main(["--quiet", "worker", "--without-gossip", "--without-mingle", "--without-heartbeat"])


if __name__ == "__main__":
    main()
