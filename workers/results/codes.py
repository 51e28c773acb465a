"""Coded concepts of the results, each from PS3.16, RadLex or our own scheme 99NODUS."""

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from node.domain.finding import NoduleType, Side
from node.domain.guidance import RiskCalculator
from node.domain.outcome import Outcome

NODUS_SCHEME = CodingSchemeIdentificationItem(
    designator="99NODUS", name="Nodus private codes", version="1", responsible_organization="Nodus"
)

COMMENT = Code("121106", "DCM", "Comment")
KEY_OBJECT_DESCRIPTION = Code("113012", "DCM", "Key Object Description")
REPORT = Code("126000", "DCM", "Imaging Measurement Report")
OF_INTEREST = Code("113000", "DCM", "Of Interest")
"""CID 7010: the title of a key object selection that claims nothing more."""
PROCEDURE_REPORTED = Code("25045-6", "LN", "CT unspecified body region")
"""CID 100; "Procedure reported" takes nothing else."""
NODULE = Code("27925004", "SCT", "Nodule")
NODULE_OF_LUNG = Code("786838002", "SCT", "Nodule of lung")
ABNORMAL_STRUCTURE = Code("49755003", "SCT", "Morphologically Abnormal Structure")
LUNG = Code("39607008", "SCT", "Lung")
ARTIFICIAL_INTELLIGENCE = Code("123110", "DCM", "Artificial Intelligence")
PROCESSING_EQUIPMENT = Code("109102", "DCM", "Processing Equipment")
ACQUISITION_EQUIPMENT = Code("109101", "DCM", "Acquisition Equipment")

NUMBER_OF_FINDINGS = Code("111406", "DCM", "Number of similar findings")
ALGORITHMS_SUMMARY = Code("111017", "DCM", "CAD Processing and Findings Summary")
DIAMETER = Code("81827009", "SCT", "Diameter")
LONG_AXIS = Code("103339001", "SCT", "Long axis")
SHORT_AXIS = Code("103340004", "SCT", "Short axis")
VOLUME = Code("118565006", "SCT", "Volume")
ATTENUATION = Code("112031", "DCM", "Attenuation Coefficient")
CERTAINTY = Code("111012", "DCM", "Certainty of Finding")
MEAN = Code("373098007", "SCT", "Mean")
SOLID_PART = Code("SOLIDPART", "99NODUS", "Solid part of a part-solid nodule")
OPENED = Code("OPENED", "99NODUS", "Largest piece above -300 HU, opened by a ball of 1.5 mm")
PARTIAL_VOLUME = Code("PVRIM", "99NODUS", "Sum of segmented voxels with partial volume at the rim")

LUNG_RADS = Code("RID50134", "RADLEX", "Lung-RADS assessment")
LUNG_RADS_CATEGORIES = {
    "1": Code("RID50136", "RADLEX", "Lung-RADS 1"),
    "2": Code("RID50137", "RADLEX", "Lung-RADS 2"),
    "3": Code("RID50138", "RADLEX", "Lung-RADS 3"),
    "4A": Code("RID50139", "RADLEX", "Lung-RADS 4A"),
    "4B": Code("RID50140", "RADLEX", "Lung-RADS 4B"),
}
PROBABILITY_OF_CANCER = Code("111047", "DCM", "Probability of cancer")
MINIMUM = Code("255605001", "SCT", "Minimum")
MAXIMUM = Code("56851009", "SCT", "Maximum")
RISK_CALCULATORS = {
    RiskCalculator.BROCK_2A: Code("BROCK2A", "99NODUS", "Brock risk calculator, full model without spiculation"),
    RiskCalculator.BROCK_2B: Code("BROCK2B", "99NODUS", "Brock risk calculator, full model with spiculation"),
}

MM = Code("mm", "UCUM", "mm")
MM3 = Code("mm3", "UCUM", "cubic millimeter")
HU = Code("[hnsf'U]", "UCUM", "Hounsfield unit")
PERCENT = Code("%", "UCUM", "Percent")
NO_UNITS = Code("1", "UCUM", "no units")
CLASS_ACTIVATION = Code("130402", "DCM", "Class activation")
NODULES = Code("{nodules}", "UCUM", "nodules")

ABSENT = Code("272519000", "SCT", "Absent")
PRESENT = Code("52101004", "SCT", "Present")
CALCIFICATIONS = Code("112063", "DCM", "Abnormal calcifications")
ATTENUATION_CHARACTERISTIC = Code("RID6037", "RADLEX", "Attenuation Characteristic")
_SOLID = Code("RID50151", "RADLEX", "solid pulmonary nodule")
NODULE_TYPES = {
    NoduleType.SOLID: _SOLID,
    NoduleType.PART_SOLID: Code("RID50152", "RADLEX", "part-solid pulmonary nodule"),
    NoduleType.GROUND_GLASS: Code("RID50153", "RADLEX", "non-solid pulmonary nodule"),
    NoduleType.CALCIFIED: _SOLID,
}
"""A calcified nodule is solid and has abnormal calcifications present."""
LATERALITY = {Side.RIGHT: Code("24028007", "SCT", "Right"), Side.LEFT: Code("7771000", "SCT", "Left")}

SUCCEEDED_WITH: Code = codes.cid6047.AllAlgorithmsSucceededWithFindings
SUCCEEDED_WITHOUT: Code = codes.cid6047.AllAlgorithmsSucceededWithoutFindings
PARTLY_WITH: Code = codes.cid6047.NotAllAlgorithmsSucceededWithFindings
PARTLY_WITHOUT: Code = codes.cid6047.NotAllAlgorithmsSucceededWithoutFindings
NONE_SUCCEEDED: Code = codes.cid6047.NoAlgorithmsSucceededWithoutFindings


def summary_code(outcome: Outcome, has_findings: bool) -> Code:
    """CID 6047: how the algorithms ended."""
    if outcome is Outcome.NOT_ANALYSED:
        return NONE_SUCCEEDED
    if outcome is Outcome.PARTIAL:
        return PARTLY_WITH if has_findings else PARTLY_WITHOUT
    return SUCCEEDED_WITH if has_findings else SUCCEEDED_WITHOUT
