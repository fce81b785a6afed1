"""Rows of an image that the client sends in place of all of it."""

import numpy as np
import pytest

from keras_concurrent.bands import Band
from keras_concurrent.edge.manifest import TensorSpec
from keras_concurrent.errors import BundleError

TENSORS = {
    "image": TensorSpec((1, 8, 4, 3), "uint8"),
    "flat": TensorSpec((8,), "uint8"),
    "top": TensorSpec((1, 3, 4, 3), "uint8"),
    "wide": TensorSpec((1, 3, 5, 3), "uint8"),
    "float": TensorSpec((1, 3, 4, 3), "float32"),
}
INPUTS = ("image", "flat")


def test_a_band_is_rows_of_an_image():
    image = np.arange(8 * 4 * 3, dtype=np.uint8).reshape(1, 8, 4, 3)
    band = Band("image", 2, 5)
    band.check("top", INPUTS, TENSORS)
    np.testing.assert_array_equal(band.of(image), image[:, 2:5])


@pytest.mark.parametrize(
    ("name", "band", "message"),
    [
        ("image", Band("image", 0, 8), "the band 'image' must be a tensor of its own"),
        ("none", Band("image", 0, 3), "the band 'none' must be a tensor of its own"),
        ("top", Band("wide", 0, 3), "must be of an input, got 'wide'"),
        ("top", Band("image", 6, 9), r"must lie in the input's \(1, 8, 4, 3\), got rows \(6, 9\)"),
        ("top", Band("image", -3, 0), "must lie in the input's"),
        ("top", Band("image", 3, 3), "must lie in the input's"),
        ("top", Band("image", 0.0, 3), "must lie in the input's"),
        ("top", Band("flat", 0, 3), r"must lie in the input's \(8,\)"),
        ("top", Band("image", 0, 4), r"must be uint8 of shape \(1, 4, 4, 3\), got uint8 of shape"),
        ("wide", Band("image", 0, 3), r"must be uint8 of shape \(1, 3, 4, 3\), got uint8"),
        ("float", Band("image", 0, 3), r"must be uint8 of shape \(1, 3, 4, 3\), got float32"),
    ],
)
def test_a_band_that_is_none_is_refused(name, band, message):
    with pytest.raises(BundleError, match=message):
        band.check(name, INPUTS, TENSORS)
