"""Which arithmetic is fast here."""

import torch


def fast_bf16(device: str) -> bool:
    """Whether bfloat16 is arithmetic on this device ("cpu", "cuda") rather than slow emulation."""
    if device == "cuda":
        return torch.cuda.is_bf16_supported()
    return bool(torch.cpu._is_avx512_bf16_supported())
