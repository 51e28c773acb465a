"""Presentation contexts we accept and offer."""

from collections.abc import Iterable

from pydicom import uid
from pynetdicom.presentation import PresentationContext, build_context
from pynetdicom.sop_class import (
    _STORAGE_CLASSES,
    InstanceAvailabilityNotification,
    ModalityPerformedProcedureStep,
    ModalityWorklistInformationFind,
    StorageCommitmentPushModel,
    StudyRootQueryRetrieveInformationModelFind,
    StudyRootQueryRetrieveInformationModelMove,
    UnifiedProcedureStepEvent,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepPush,
    UnifiedProcedureStepQuery,
    UnifiedProcedureStepWatch,
    Verification,
)

from node.dicom.query_models import FIND, RETRIEVE

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
    """What the node serves: Verification, Storage of every standard class, queries and retrievals, storage commitment,
    counts of images, procedure steps."""
    storage = [_storage(sop_class) for sop_class in storage_sop_classes()]
    questions = [build_context(each, list(UNCOMPRESSED)) for each in (*FIND, *RETRIEVE)]
    return [
        build_context(Verification, list(UNCOMPRESSED)),
        *questions,
        _commitment(),
        *(build_context(each, list(UNCOMPRESSED)) for each in COUNTS),
        *(build_context(each, list(UNCOMPRESSED)) for each in UNIFIED_PROCEDURE_STEP),
        *storage,
    ]


def _storage(sop_class: str) -> PresentationContext:
    """We take what is sent; and send with C-GET to who proposes to be the SCP of it (PS3.4 C.5.3)."""
    context = build_context(sop_class, list(STORED_SYNTAXES))
    context.scu_role = context.scp_role = True
    return context


COUNTS = (ModalityPerformedProcedureStep, InstanceAvailabilityNotification)
"""By which others tell how many images there are."""
UNIFIED_PROCEDURE_STEP = (
    UnifiedProcedureStepPush,
    UnifiedProcedureStepPull,
    UnifiedProcedureStepWatch,
    UnifiedProcedureStepQuery,
)
"""Events go out on associations that we open."""


def worklist() -> list[PresentationContext]:
    """What is served under the worklist's AE title, and nothing else there: no scanner shall find it beside storage."""
    return [build_context(each, list(UNCOMPRESSED)) for each in (Verification, ModalityWorklistInformationFind)]


def _commitment() -> PresentationContext:
    """Storage commitment: a destination that calls us to answer is the SCP, and says so (PS3.7 D.3.3.4); a sender that
    asks is the SCU, whether it says so or not."""
    context = build_context(StorageCommitmentPushModel, list(UNCOMPRESSED))
    context.scu_role, context.scp_role = True, True
    return context


def storage_sop_classes() -> list[str]:
    """Every standard storage SOP class: one object that nobody reads must not fail a whole study's transfer."""
    return sorted({*map(str, _STORAGE_CLASSES.values()), *SINCE_PYNETDICOM_3_0_4})


def offered_retrieval() -> list[PresentationContext]:
    """What we propose to an archive in order to find and fetch what is not here; Verification as for questions."""
    classes = (
        Verification,
        StudyRootQueryRetrieveInformationModelFind,
        StudyRootQueryRetrieveInformationModelMove,
    )
    return [build_context(each, list(UNCOMPRESSED)) for each in classes]


RESULT_SOP_CLASSES = (
    uid.SegmentationStorage,
    uid.Comprehensive3DSRStorage,
    uid.ComprehensiveSRStorage,
    uid.EnhancedSRStorage,
    uid.SecondaryCaptureImageStorage,
    uid.KeyObjectSelectionDocumentStorage,
    uid.GrayscaleSoftcopyPresentationStateStorage,
    uid.EncapsulatedPDFStorage,
    uid.ParametricMapStorage,
)


def offered_results() -> list[PresentationContext]:
    """What we propose to a destination: one context per transfer syntax, so that its choice is its own."""
    return [build_context(sop_class, [syntax]) for sop_class in RESULT_SOP_CLASSES for syntax in UNCOMPRESSED]


def offered_echo() -> list[PresentationContext]:
    """What we propose to a destination that gets no results, to see whether it is there."""
    return [build_context(Verification, list(UNCOMPRESSED))]


MOST_KINDS = 42
"""(SOP class, transfer syntax) of images on one association: three contexts each, Verification, 128 at most."""


def offered_images(kinds: Iterable[tuple[str, str]]) -> list[PresentationContext]:
    """What we propose in order to forward images of these kinds: each as it is stored, and uncompressed in case that is
    not taken; one context per transfer syntax. Verification comes along: see `offered_questions`."""
    stored = [*kinds]
    plain = [(sop_class, str(syntax)) for sop_class, _ in stored for syntax in UNCOMPRESSED]
    return [
        build_context(sop_class, [syntax]) for sop_class, syntax in dict.fromkeys([*stored, *plain])
    ] + offered_echo()


def offered_questions(*, commitment: bool) -> list[PresentationContext]:
    """What we propose to a destination in order to ask whether it has results. Verification comes along, because an
    association on which nothing is accepted looks like one that was broken off."""
    classes = [Verification, StudyRootQueryRetrieveInformationModelFind]
    return [build_context(each, list(UNCOMPRESSED)) for each in ([StorageCommitmentPushModel] * commitment + classes)]


def offered_commitment() -> PresentationContext:
    """What we propose to a sender in order to answer its request: of storage commitment we are the SCP."""
    context = build_context(StorageCommitmentPushModel, list(UNCOMPRESSED))
    context.scu_role, context.scp_role = False, True
    return context


def offered_events() -> PresentationContext:
    """What we propose to a subscriber of Unified Procedure Steps: of their events we are the SCP."""
    context = build_context(UnifiedProcedureStepEvent, list(UNCOMPRESSED))
    context.scu_role, context.scp_role = False, True
    return context
