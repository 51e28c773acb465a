"""Detectors of others beside ours: kept in the data directory, pinned by SHA-256, one of them in use, one in shadow."""

from workers.models.choice import Detector, Shipped, chosen, in_shadow, named

__all__ = ["Detector", "Shipped", "chosen", "in_shadow", "named"]
