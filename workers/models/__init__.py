"""Detectors of others beside ours: kept in the data directory, pinned by SHA-256, one of them in use."""

from workers.models.choice import Detector, Shipped, chosen

__all__ = ["Detector", "Shipped", "chosen"]
