"""The floor that the shipped models must reach on whole real scans that took no part in training."""

from dataclasses import dataclass

import numpy as np
import pytest

from node.domain.eligibility import judge
from node.headers import read_header
from tests.realdata import scan
from workers.pipeline import read

pytestmark = pytest.mark.realdata
AMONG_THE_FIRST = 3
MOST_OTHERS = 5


@dataclass(frozen=True)
class Mass:
    """One mass that must be found."""

    scan: str
    """A name of tests.realdata."""
    center_lps_mm: tuple[float, float, float]
    diameter_mm: float


MASSES = (
    Mass("cptac", (-83.0, -192.0, -192.0), 21.0),
    Mass("lidc-0001", (56.2, 86.3, -115.9), 23.4),
)


@pytest.mark.parametrize("mass", MASSES, ids=lambda mass: mass.scan)
def test_the_mass_is_among_the_first_findings_and_few_others_are_reported(mass: Mass) -> None:
    paths = scan(mass.scan)
    findings = read(paths, judge(map(read_header, paths))).findings
    hits = [
        one.ordinal
        for one in findings
        if np.linalg.norm(np.subtract(one.center_lps_mm, mass.center_lps_mm)) <= mass.diameter_mm / 2
    ]
    assert hits and hits[0] <= AMONG_THE_FIRST
    assert len(findings) - len(hits) <= MOST_OTHERS
