"""Presentation contexts we accept and offer."""

from pydicom import uid
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    _STORAGE_CLASSES,
    StudyRootQueryRetrieveInformationModelFind,
    Verification,
)

UNCOMPRESSED = (uid.ExplicitVRLittleEndian, uid.ImplicitVRLittleEndian)
"""Explicit first: the acceptor's order decides, and text of private keys is readable only with its VR."""

STORED_SYNTAXES = (
    *UNCOMPRESSED,
    uid.JPEGLosslessSV1,
    uid.JPEGLossless,
    uid.JPEGLSLossless,
    uid.JPEG2000Lossless,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.RLELossless,
    uid.DeflatedExplicitVRLittleEndian,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLSNearLossless,
    uid.JPEG2000,
    uid.HTJ2K,
    uid.ExplicitVRBigEndian,
)
"""In order of preference: as it is, then lossless, then lossy (kept, but a limitation of any reading)."""

SINCE_PYNETDICOM_3_0_4 = ("1.2.840.10008.5.1.4.1.1.66.7",)  # Label Map Segmentation Storage (Sup 243)


def accepted() -> list[PresentationContext]:
    """What the node serves: Verification, Storage of every standard class, Study Root FIND."""
    storage = [build_context(str(sop_class), list(STORED_SYNTAXES)) for sop_class in storage_sop_classes()]
    return [
        build_context(Verification, list(UNCOMPRESSED)),
        build_context(StudyRootQueryRetrieveInformationModelFind, list(UNCOMPRESSED)),
        *storage,
    ]


def storage_sop_classes() -> list[str]:
    """Every standard storage SOP class: one object that nobody reads must not fail a whole study's transfer."""
    return sorted({*map(str, _STORAGE_CLASSES.values()), *SINCE_PYNETDICOM_3_0_4})


RESULT_SOP_CLASSES = (
    uid.SegmentationStorage,
    uid.Comprehensive3DSRStorage,
    uid.ComprehensiveSRStorage,
    uid.EnhancedSRStorage,
    uid.SecondaryCaptureImageStorage,
)


def offered_results() -> list[PresentationContext]:
    """What we propose to a destination: one context per transfer syntax, so that its choice is its own."""
    return [build_context(sop_class, [syntax]) for sop_class in RESULT_SOP_CLASSES for syntax in UNCOMPRESSED]
