"""Findings to DICOM: sr.py seg.py codes.py … ; the only users of highdicom."""

from collections.abc import Callable

from node.domain.delivery import SENDING_ORDER, ResultKind
from workers.results.check import RULES, Broken, broken_rules
from workers.results.heat import encode_pm
from workers.results.page import encode_pdf
from workers.results.presentation import encode_gsps
from workers.results.request import EncodedResult, Equipment, Model, Predecessor, ResultRequest, Style
from workers.results.secondary import encode_secondary_capture
from workers.results.seg import encode_seg
from workers.results.selection import encode_kos
from workers.results.sr import SR_LADDER, encode_sr

__all__ = [
    "RULES",
    "SR_LADDER",
    "Broken",
    "EncodedResult",
    "Equipment",
    "Model",
    "Predecessor",
    "ResultRequest",
    "Style",
    "broken_rules",
    "encode",
    "encode_all",
    "encode_secondary_capture",
    "encode_seg",
    "encode_sr",
]


def encode(request: ResultRequest, kind: ResultKind) -> tuple[EncodedResult, ...]:
    """Encode one kind of result, every rung of it, best first; nothing where there is nothing of the kind to say."""
    return _ENCODERS[kind](request)


def _seg(request: ResultRequest) -> tuple[EncodedResult, ...]:
    return (encode_seg(request),) if request.findings else ()


def _sr(request: ResultRequest) -> tuple[EncodedResult, ...]:
    return tuple(encode_sr(request, sop_class_uid) for sop_class_uid in SR_LADDER)


def _sc(request: ResultRequest) -> tuple[EncodedResult, ...]:
    return (encode_secondary_capture(request),) if request.volume is not None else ()


_ENCODERS: dict[ResultKind, Callable[[ResultRequest], tuple[EncodedResult, ...]]] = {
    ResultKind.SEG: _seg,
    ResultKind.SR: _sr,
    ResultKind.KOS: encode_kos,
    ResultKind.GSPS: encode_gsps,
    ResultKind.PDF: lambda request: (encode_pdf(request),),
    ResultKind.SC: _sc,
    ResultKind.PM: encode_pm,
}


def encode_all(request: ResultRequest) -> tuple[EncodedResult, ...]:
    """Encode every result of one reading, in the order of delivery."""
    return tuple(result for kind in SENDING_ORDER for result in encode(request, kind))
