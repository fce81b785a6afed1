"""Which images are held back: at random, with every class in its share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Indices = NDArray[np.intp]


def stratified(labels: NDArray[Any], share: float, seed: int = 0) -> tuple[Indices, Indices]:
    """Split images at random, class by class, however they are sorted.

    Of each class the share is rounded; one of at least two images gives at least one, and keeps at
    least one.

    Args:
        labels: one an image.
        share: to be held back, above 0 and below 1.
        seed: of the draw.

    Returns:
        Indices of the images that stay and of those held back, each in random order.

    Raises:
        ValueError: a share out of range, or not one class of two images.
    """
    if not 0 < share < 1:
        raise ValueError(f"share must be above 0 and below 1, got {share!r}")
    rng = np.random.default_rng(seed)
    held: list[int] = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        held += members[:count].tolist()
    if not held:
        raise ValueError(
            f"a class must have at least 2 images for one to be held back, got {len(labels)} "
            "images of as many classes"
        )
    kept = np.setdiff1d(np.arange(len(labels)), held)
    return rng.permutation(kept), rng.permutation(np.asarray(held, np.intp))
