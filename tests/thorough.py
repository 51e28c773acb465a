"""Which tests are left to `make soak`: all together take an hour and a half of a processor.

Left out are files of services at the rim on PostgreSQL, and tests marked `thorough`: more cases of what another asks.
"""

import os

import pytest

ON_SQLITE = frozenset({
    *("test_audit_repository", "test_hl7_delivery", "test_node_counts", "test_node_promises", "test_node_senders"),
    *("test_query_find", "test_query_models", "test_query_plans", "test_retrieve", "test_worker_priors"),
    *("test_node_forward", "test_forward_commit", "test_deliver_companions", "test_node_prefetch"),
    *("test_node_missing",),
    *("test_workflow_adapters", "test_workflow_steps", "test_workflow_tell", "test_association_users"),
    *("test_node_alerts", "test_node_breaker", "test_node_commit", "test_node_retain", "test_node_scenarios"),
    *("test_shadow_jobs", "test_clock", "test_node_read"),
})  # fmt: skip
"""Files of services at the rim: what they ask of SQL is like what others ask, which run on both."""
IS_THOROUGH = bool(os.environ.get("NODUS_THOROUGH"))


def left_out(item: pytest.Item) -> bool:
    """Whether a test is left to `make soak`: so marked, or one of those files on PostgreSQL."""
    at_the_rim = item.path.stem in ON_SQLITE and "postgresql" in item.name
    return not IS_THOROUGH and (at_the_rim or item.get_closest_marker("thorough") is not None)


def told() -> str:
    """For the head of a run."""
    return (
        "" if IS_THOROUGH else f"{len(ON_SQLITE)} files on SQLite alone, and no more cases: all with NODUS_THOROUGH=1"
    )
