"""What the web port shows of a running node: whether every loop turns, whether the database answers, what there is."""

import socket
from collections.abc import Callable, Sequence
from functools import partial

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from node.catalog import alerts, breakers, jobs, outbox, repository
from node.catalog.session import Catalog
from node.deadline import Asking
from node.flow.loop import Loop
from node.metrics import Metrics
from node.web.app import WebServer, application

ANSWER_WITHIN_S = 2.0
"""A database that says nothing for so long does not answer, as far as the web port is concerned."""


def server(catalog: Catalog, loops: Sequence[Loop], metrics: Metrics, page: socket.socket) -> WebServer:
    """The web port of a node; `loops` may still grow."""

    asking = Asking("web")

    def count(query: Callable[[Session], dict[str, int]]) -> dict[str, int]:
        with catalog.reading() as session:
            return query(session)

    def checks() -> dict[str, str]:
        state = {loop.name: loop.trouble or "ok" for loop in loops}
        try:
            asking.ask(partial(count, jobs.count_by_state), ANSWER_WITHIN_S)
        except (SQLAlchemyError, TimeoutError) as error:
            return {**state, "database": f"does not answer ({type(error).__name__})"}
        return {**state, "database": "ok"}

    def shown(query: Callable[[Session], dict[str, int]]) -> dict[str, int]:
        try:
            return asking.ask(partial(count, query), ANSWER_WITHIN_S)
        except (SQLAlchemyError, TimeoutError):
            return {}  # /readyz says why; the other metrics go on

    metrics.watch("nodus_jobs", "Jobs by state", partial(shown, jobs.count_by_state))
    in_shadow = partial(jobs.count_by_state, shadow=True)
    metrics.watch("nodus_shadow_jobs", "Shadow readings by state", partial(shown, in_shadow))
    metrics.watch("nodus_results", "Results to deliver, by state", partial(shown, outbox.count_by_state))
    metrics.watch("nodus_alerts", "Open alerts, by kind", partial(shown, alerts.count_by_kind), label="kind")
    levels = "Circuit breaker of a destination: 0 closed, 1 half-open, 2 open, 3 paused by the operator"
    metrics.watch("nodus_destination_breaker", levels, partial(shown, breakers.levels), label="destination")
    waits = "Age of the oldest result that is due at a destination, in seconds; 0 where none is"
    metrics.watch("nodus_destination_waiting_seconds", waits, partial(shown, outbox.waiting_s), label="destination")
    rows = "Audit rows that the audit repository does not have"
    metrics.watch("nodus_audit_repository_backlog", rows, partial(shown, repository.waiting), label="repository")
    failures = "Failed turns in a row of a loop of the flow"
    metrics.watch("nodus_loop_failures", failures, lambda: {loop.name: loop.failures for loop in loops}, label="loop")
    return WebServer(application(checks, metrics.registry), page)
