"""Patients, studies, series and instances."""

from node.catalog.studies.arrivals import all_paths, come_again, follow, known_paths, own_results, register
from node.catalog.studies.images import (
    ct_files_of_study,
    ct_series_ids,
    files_of_series,
    has_removed,
    headers_of_series,
)
from node.catalog.studies.states import (
    close_series,
    close_study,
    has_conflict,
    is_open,
    keep_verdict,
    last_caller,
    open_series,
    open_studies,
    set_outcome,
    study_uid,
    verdicts_of_study,
)
from node.catalog.studies.versions import hold_back, look_again, settle, undecided, versions_of

__all__ = [
    "all_paths",
    "close_series",
    "close_study",
    "come_again",
    "ct_files_of_study",
    "ct_series_ids",
    "files_of_series",
    "follow",
    "has_conflict",
    "has_removed",
    "headers_of_series",
    "hold_back",
    "is_open",
    "keep_verdict",
    "known_paths",
    "last_caller",
    "look_again",
    "open_series",
    "open_studies",
    "own_results",
    "register",
    "set_outcome",
    "settle",
    "study_uid",
    "undecided",
    "verdicts_of_study",
    "versions_of",
]
