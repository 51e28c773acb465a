"""Results and where each of them stands with each destination."""

from node.catalog.outbox.counts import MISSED, count_by_state, listing, missed, overdue, states_of_job, waiting_s
from node.catalog.outbox.holding import (
    UNSENT,
    cancel_unsent,
    give_up,
    hold,
    is_held,
    jobs_to_release,
    newest_job_seen,
    release,
)
from node.catalog.outbox.results import (
    StoredResult,
    are_purged,
    keep_results,
    report_uid_of_job,
    reports_sent,
    results_of_job,
)
from node.catalog.outbox.shipping import (
    begin_attempt,
    delivered,
    end_waits,
    next_shipment,
    postponed,
    refused,
    send_again,
    trial_shipment,
)

__all__ = [
    "MISSED",
    "UNSENT",
    "StoredResult",
    "are_purged",
    "begin_attempt",
    "cancel_unsent",
    "count_by_state",
    "delivered",
    "end_waits",
    "give_up",
    "hold",
    "is_held",
    "jobs_to_release",
    "keep_results",
    "listing",
    "missed",
    "newest_job_seen",
    "next_shipment",
    "overdue",
    "postponed",
    "refused",
    "release",
    "report_uid_of_job",
    "reports_sent",
    "results_of_job",
    "send_again",
    "states_of_job",
    "trial_shipment",
    "waiting_s",
]
