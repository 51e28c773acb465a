"""Where the lungs are, on a coarse grid: right and left, pleura, hilum and masses included."""

from workers.lungs.segment import segment_lungs
from workers.volume import Lungs

__all__ = ["Lungs", "segment_lungs"]
