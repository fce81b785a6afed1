"""How a network is trained, as numbers: read by commands and searches without loading Keras."""

from __future__ import annotations

import math
from dataclasses import dataclass

OPTIMIZERS = ("adam", "sgd")
AUGMENTATIONS = ("flip", "shift", "zoom", "rotate", "brightness")


@dataclass(frozen=True)
class Recipe:
    """A training.

    Args:
        epochs: rounds over the training images; fewer where ``patience`` ends it.
        batch_size: images a step.
        optimizer: ``"adam"``, or ``"sgd"`` with a momentum of 0.9.
        learning_rate: the peak of the schedule.
        warmup: share of the steps in which the rate climbs to its peak from a tenth of it; then it
            falls along a cosine to a hundredth.
        label_smoothing: share of each label that is spread over all classes.
        weight_decay: decoupled from the gradient (AdamW); none of biases and normalisations.
        augmentation: some of `AUGMENTATIONS`, joined by commas; ``"none"``; or ``"auto"``, what is
            fit for the images, see `keras_concurrent.training.augmentation`.
        patience: epochs without a better accuracy on validation images after which the training
            ends, with the weights of the best; ``None``: all epochs, on all images.
        class_weights: whether each class counts the same in the loss, however few its images are.
        averaging: share of the steps over which the weights are averaged, by Keras's own moving
            average; 0: the last ones.
        validation: share of the training images, of each class, that ``patience`` looks at.
        seed: of the order of the images, their augmentation, and any random layer.

    Raises:
        ValueError: a value out of range.
    """

    epochs: int = 10
    batch_size: int = 32
    optimizer: str = "adam"
    learning_rate: float = 5e-3
    warmup: float = 0.1
    label_smoothing: float = 0.0
    weight_decay: float = 0.0
    augmentation: str = "none"
    patience: int | None = None
    class_weights: bool = False
    averaging: float = 0.0
    validation: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, value in (
            ("epochs", self.epochs),
            ("batch_size", self.batch_size),
            ("patience", 1 if self.patience is None else self.patience),
        ):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
        if self.optimizer not in OPTIMIZERS:
            raise ValueError(
                f"optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer!r}"
            )
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate!r}")
        for name in ("warmup", "label_smoothing", "weight_decay", "averaging"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be from 0 to below 1, got {getattr(self, name)!r}")
        if not 0 < self.validation < 1:
            raise ValueError(f"validation must be above 0 and below 1, got {self.validation!r}")
        if self.augmentation not in ("auto", "none"):
            strange = set(self.augmentation.split(",")) - set(AUGMENTATIONS)
            if strange:
                raise ValueError(
                    f"augmentation must be auto, none or some of {', '.join(AUGMENTATIONS)}, got "
                    f"{', '.join(sorted(strange)) or 'nothing'!r}"
                )

    def steps(self, images: int) -> int:
        """Batches of a whole training on so many images."""
        return self.epochs * math.ceil(images / self.batch_size)
