"""Image files as a model's input takes them."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_concurrent.edge.images import check_image, read_image
from keras_concurrent.edge.manifest import TensorSpec
from keras_concurrent.edge.watch.bench import random_images

RGB = TensorSpec((1, 2, 4, 3), "float32")


def png(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "png")
    return content.getvalue()


def test_a_picture_is_scaled_and_its_bytes_become_values_of_0_to_1(tmp_path):
    pixels = np.full((4, 8, 3), (255, 51, 0), np.uint8)
    (tmp_path / "image.png").write_bytes(png(pixels))
    given = read_image(tmp_path / "image.png", RGB)
    assert (given.shape, given.dtype) == (RGB.shape, np.float32)
    np.testing.assert_allclose(given[0], np.broadcast_to((1, 0.2, 0), (2, 4, 3)), atol=1e-6)
    as_bytes = read_image(tmp_path / "image.png", TensorSpec(RGB.shape, "uint8"))
    np.testing.assert_array_equal(as_bytes[0, 1, 3], (255, 51, 0))


def test_an_array_is_taken_as_it_is(tmp_path):
    np.save(tmp_path / "image.npy", np.arange(24, dtype=np.float32).reshape(RGB.shape))
    assert read_image(tmp_path / "image.npy", RGB)[0, 1, 3, 2] == 23


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("half.png", png(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))[:4000],
         "half.png is a damaged image: "),
        ("text.png", b"no image", "text.png is not an image that Pillow reads"),
        ("empty.npy", b"", "empty.npy must hold one array of numbers: "),
    ],
)  # fmt: skip
def test_a_damaged_image_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / name, RGB)
    with pytest.raises(FileNotFoundError):
        read_image(tmp_path / f"no_{name}", RGB)


def test_a_model_that_takes_no_picture_asks_for_an_array(tmp_path):
    (tmp_path / "image.png").write_bytes(png(np.zeros((2, 2, 3), np.uint8)))
    with pytest.raises(ValueError, match=r"takes no picture but an array of shape \(1, 5\)"):
        read_image(tmp_path / "image.png", TensorSpec((1, 5), "float32"))


def test_check_image_keeps_a_right_image_as_it_is(bundle):
    spec = bundle.manifest.tensors["image"]
    image = random_images(bundle, 1)[0]
    assert np.array_equal(check_image("image", image, spec), image)
