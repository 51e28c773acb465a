"""Phantoms that took part in training: nothing is measured on them."""

TRAINING_SEEDS, VALIDATION_SEEDS = range(1000, 1024), range(2000, 2004)
"""Those of the tests are neither."""


def took_part(seed: int) -> bool:
    """Whether a phantom of this seed was trained on, or chose when to stop."""
    return seed in TRAINING_SEEDS or seed in VALIDATION_SEEDS
