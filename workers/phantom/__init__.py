"""A synthetic chest CT with known nodules, from one seed; numpy and pydicom only."""

from workers.phantom.chest import Phantom, Spec, chest
from workers.phantom.nodules import Nodule

__all__ = ["Nodule", "Phantom", "Spec", "chest"]
