"""Findings to DICOM: sr.py seg.py codes.py … ; the only users of highdicom."""

from node.domain.delivery import SENDING_ORDER, ResultKind
from workers.results.request import EncodedResult, Equipment, Model, Predecessor, ResultRequest
from workers.results.secondary import encode_secondary_capture
from workers.results.seg import encode_seg
from workers.results.sr import SR_LADDER, encode_sr

__all__ = [
    "SR_LADDER",
    "EncodedResult",
    "Equipment",
    "Model",
    "Predecessor",
    "ResultRequest",
    "encode",
    "encode_all",
    "encode_secondary_capture",
    "encode_seg",
    "encode_sr",
]


def encode(request: ResultRequest, kind: ResultKind) -> tuple[EncodedResult, ...]:
    """Encode one kind of result, every rung of it, best first; nothing where there is nothing of the kind to say."""
    if kind is ResultKind.SEG:
        return (encode_seg(request),) if request.findings else ()
    if kind is ResultKind.SR:
        return tuple(encode_sr(request, sop_class_uid) for sop_class_uid in SR_LADDER)
    return (encode_secondary_capture(request),) if request.volume is not None else ()


def encode_all(request: ResultRequest) -> tuple[EncodedResult, ...]:
    """Encode every result of one reading, in the order of delivery."""
    return tuple(result for kind in SENDING_ORDER for result in encode(request, kind))
