"""Results and where each of them stands with each destination."""

from node.catalog.outbox.counts import count_by_state, listing, states_of_job
from node.catalog.outbox.holding import (
    UNSENT,
    cancel_unsent,
    hold,
    is_held,
    jobs_to_release,
    newest_job_seen,
    release,
)
from node.catalog.outbox.results import StoredResult, keep_results, report_uid_of_job, results_of_job
from node.catalog.outbox.shipping import begin_attempt, delivered, next_shipment, postponed, refused

__all__ = [
    "UNSENT",
    "StoredResult",
    "begin_attempt",
    "cancel_unsent",
    "count_by_state",
    "delivered",
    "hold",
    "is_held",
    "jobs_to_release",
    "keep_results",
    "listing",
    "newest_job_seen",
    "next_shipment",
    "postponed",
    "refused",
    "release",
    "report_uid_of_job",
    "results_of_job",
    "states_of_job",
]
