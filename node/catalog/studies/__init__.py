"""Patients, studies, series and instances."""

from node.catalog.studies.arrivals import all_paths, authoritative_paths, known_paths, own_results, register
from node.catalog.studies.images import ct_files_of_study, ct_series_ids, files_of_series, headers_of_series
from node.catalog.studies.states import (
    close_series,
    close_study,
    has_conflict,
    is_open,
    keep_verdict,
    open_series,
    open_studies,
    set_outcome,
    study_uid,
    verdicts_of_study,
)

__all__ = [
    "all_paths",
    "authoritative_paths",
    "close_series",
    "close_study",
    "ct_files_of_study",
    "ct_series_ids",
    "files_of_series",
    "has_conflict",
    "headers_of_series",
    "is_open",
    "keep_verdict",
    "known_paths",
    "open_series",
    "open_studies",
    "own_results",
    "register",
    "set_outcome",
    "study_uid",
    "verdicts_of_study",
]
