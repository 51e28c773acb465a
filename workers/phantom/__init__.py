"""A synthetic chest CT with known nodules, from one seed; numpy, scipy and pydicom only."""

from workers.phantom.chest import Phantom, Spec, chest
from workers.phantom.truth import Nodule
from workers.phantom.variety import varied

__all__ = ["Nodule", "Phantom", "Spec", "chest", "varied"]
