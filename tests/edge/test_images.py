"""Image files as a model's input takes them."""

import io

import numpy as np
import pytest
from PIL import Image

from keras_concurrent.edge.images import check_image, misfit, read_image, settled
from keras_concurrent.edge.manifest import TensorSpec
from keras_concurrent.edge.preprocessing import Preprocessing
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


def test_bytes_without_a_scale_are_taken_as_they_are(tmp_path):
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 8, 32, 1).repeat(3, 3)
    (tmp_path / "image.png").write_bytes(png(pixels[0]))
    for dtype in ("uint8", "int32"):
        given = read_image(tmp_path / "image.png", TensorSpec(pixels.shape, dtype))
        assert given.dtype == dtype
        np.testing.assert_array_equal(given, pixels)
    with pytest.raises(ValueError, match=r"takes bytes as they are, in uint8 without a scale"):
        read_image(
            tmp_path / "image.png", TensorSpec(pixels.shape, "uint8"), Preprocessing("-1..1")
        )
    with pytest.raises(ValueError, match=r"does not say what values the int8 .* export .* anew"):
        read_image(tmp_path / "image.png", TensorSpec(pixels.shape, "int8"))


def test_a_picture_is_quantised_by_the_inputs_own_scale(tmp_path):
    """Worked out by hand: round(value / scale + zero_point), clipped to the dtype."""
    pixels = np.full((2, 4, 3), (255, 51, 0), np.uint8)
    (tmp_path / "image.png").write_bytes(png(pixels))
    for spec, codes in (
        (TensorSpec(RGB.shape, "int8", 1 / 255, -128), (127, -77, -128)),  # values 1, 0.2, 0
        (TensorSpec(RGB.shape, "int8", 0.004, -100), (127, -50, -100)),  # 1 lies beyond its end
        (TensorSpec(RGB.shape, "uint8", 1 / 255, 0), (255, 51, 0)),  # as `export --pixels`
        (TensorSpec(RGB.shape, "uint8", 0.0078125, 128), (255, 51, 0)),  # values 1, -0.6, -1
    ):
        given = read_image(tmp_path / "image.png", spec)
        assert given.dtype == spec.dtype
        np.testing.assert_array_equal(given[0, 1, 3], codes)


def test_every_byte_of_a_picture_reaches_a_model_of_pixels_as_it_is(tmp_path):
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 8, 32, 1).repeat(3, 3)
    (tmp_path / "image.png").write_bytes(png(pixels[0]))
    spec = TensorSpec(pixels.shape, "uint8", float(np.float32(1 / 255)), 0)
    np.testing.assert_array_equal(read_image(tmp_path / "image.png", spec), pixels)


@pytest.mark.parametrize(
    ("said", "values"),
    [
        (Preprocessing("0..255"), (255, 51, 0)),
        (Preprocessing("-1..1"), (1, -0.6, -1)),
        (Preprocessing(mean=(0.5,), deviation=(0.25,)), (2, -1.2, -2)),
        (Preprocessing("0..255", (55.0, 1.0, 10.0), (2.0, 5.0, 10.0)), (100, 10, -1)),
    ],
)
def test_preprocessing_is_range_then_mean_then_deviation(tmp_path, said, values):
    (tmp_path / "image.png").write_bytes(png(np.full((2, 4, 3), (255, 51, 0), np.uint8)))
    given = read_image(tmp_path / "image.png", RGB, said)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given[0, 0, 0], values, rtol=1e-6)
    spec = TensorSpec(RGB.shape, "int16", 0.01, 7)
    coded = read_image(tmp_path / "image.png", spec, said)
    np.testing.assert_allclose(spec.dequantised(coded)[0, 0, 0], values, atol=0.0051)


def test_a_crop_keeps_the_middle_as_it_looks_and_a_stretch_keeps_all(tmp_path):
    """Three squares side by side, red, green and blue: the middle one is green."""
    pixels = np.zeros((8, 24, 3), np.uint8)
    for channel in range(3):
        pixels[:, channel * 8 : channel * 8 + 8, channel] = 255
    (tmp_path / "image.png").write_bytes(png(pixels))
    spec = TensorSpec((1, 8, 8, 3), "float32")
    cropped = read_image(tmp_path / "image.png", spec, Preprocessing(resize="crop"))
    np.testing.assert_array_equal(cropped[0, 4, 1:7], np.tile([0.0, 1.0, 0.0], (6, 1)))
    stretched = read_image(tmp_path / "image.png", spec)
    np.testing.assert_allclose(stretched.mean(axis=(0, 1, 2)), (1 / 3, 1 / 3, 1 / 3), atol=0.02)


@pytest.mark.parametrize(
    ("spec", "said", "range_", "fits"),
    [
        (RGB, Preprocessing(), "0..1", True),
        (RGB, Preprocessing("-1..1"), "-1..1", True),
        (TensorSpec(RGB.shape, "int8", 0.0039, -128), Preprocessing(), "0..1", True),
        (TensorSpec(RGB.shape, "int8", 0.0078, 0), Preprocessing(), "-1..1", True),
        (TensorSpec(RGB.shape, "int8", 0.0078, 0), Preprocessing("0..1"), "0..1", False),
        (TensorSpec(RGB.shape, "uint8", 1.0, 0), Preprocessing(resize="crop"), "0..255", True),
        (TensorSpec(RGB.shape, "int8", 0.0187, -14), Preprocessing(), "0..1", False),
        (
            TensorSpec(RGB.shape, "int8", 0.0187, -14),
            Preprocessing(mean=(0.485, 0.456, 0.406), deviation=(0.229, 0.224, 0.225)),
            "0..1", True,
        ),
    ],
)  # fmt: skip
def test_integers_tell_what_range_they_stand_for(spec, said, range_, fits):
    found = settled(said, spec)
    assert (found.value_range, found.resize) == (range_, said.resize)
    assert (misfit(found, spec) is None) == fits


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"value_range": "0..2"}, r"value_range must be one of 0\.\.1, -1\.\.1, 0\.\.255, got"),
        ({"resize": "pad"}, "resize must be one of stretch, crop, got 'pad'"),
        ({"mean": (1.0, 2.0)}, "mean must be 1 or 3 finite numbers, got"),
        ({"mean": (float("nan"),)}, "mean must be 1 or 3 finite numbers, got"),
        ({"deviation": (0.0,)}, "deviation must be above 0, got"),
    ],
)
def test_a_wrong_preprocessing_is_refused(words, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing(**words)


def test_a_mean_of_three_channels_does_not_suit_a_grey_input(tmp_path):
    (tmp_path / "image.png").write_bytes(png(np.zeros((2, 4, 3), np.uint8)))
    said = Preprocessing(mean=(0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match=r"mean must be .* the picture's 1 channels, got 3"):
        read_image(tmp_path / "image.png", TensorSpec((1, 2, 4, 1), "float32"), said)


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
