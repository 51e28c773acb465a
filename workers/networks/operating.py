"""The thresholds that belong to the shipped weights, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True)
class OperatingPoint:
    """Where the chain decides; set on held-out real nodules and real lungs (cards/), not on test scans."""

    candidate_score: float = 0.05
    """Least detector score for a second look."""
    most_candidates: int = 48
    """Second looks for one scan, best first: bounds the time. The report says so where more may matter."""
    finding_score: float = 0.65
    """Least combined score of a finding: copies of a held-out real lung had less than 0.1 false positives each."""
    most_findings: int = 10
    """Reported findings for one scan, best first. The report says so where there are more."""
