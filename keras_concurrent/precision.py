"""How exactly a converted model computes, and how far it may then be from Keras.

``float16`` stores weights in two bytes, ``dynamic`` in one; both compute with float32 tensors.
``int8`` computes with tensors of one byte, calibrated on images, so that one byte a value travels.
"""

from __future__ import annotations

TOLERANCES = {"float32": 1e-4, "float16": 1e-2, "dynamic": 0.1, "int8": 0.5}
"""Largest difference that a conversion is let pass with; how good it is, accuracy says."""

PRECISIONS = tuple(TOLERANCES)
