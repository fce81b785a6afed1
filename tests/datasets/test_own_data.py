"""Images that users have: folders of pictures, .npz, IDX and tf.data, by one rule."""

import gzip
import struct
import types

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from keras_concurrent import datasets
from keras_concurrent.datasets import downloads
from keras_concurrent.datasets.scaling import scale_of, values_of
from keras_concurrent.datasets.splitting import stratified
from keras_concurrent.edge.images import read_image
from keras_concurrent.edge.manifest import TensorSpec
from keras_concurrent.errors import ConcurrentError

RNG = np.random.default_rng(0)


def noise(count, side=6, channels=3):
    return RNG.integers(0, 256, (count, side, side, channels)).astype(np.uint8)


def write_pictures(folder, classes, count, shape=(6, 6), mode="RGB", suffix="png"):
    """``count`` pictures of noise a class; gives the classes' pixels."""
    for name in classes:
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = RNG.integers(0, 256, (*shape, 3)).astype(np.uint8)
            picture = Image.fromarray(pixels).convert(mode)
            picture.save(folder / name / f"{index:03}.{suffix}")


# The rule


@pytest.mark.parametrize(
    ("images", "expected", "said"),
    [
        (np.uint8([0, 51, 255]), [0, 0.2, 1], "bytes of 0..255, divided by 255"),
        (np.int64([0, 51, 255]), [0, 0.2, 1], "bytes of 0..255, divided by 255"),
        (np.float64([0, 51, 255]), [0, 0.2, 1], "bytes of 0..255, divided by 255"),
        (np.float32([0, 0.2, 1]), [0, 0.2, 1], "values of 0..1, taken as they are"),
        (np.float32([0, 0.2, 1.0005]), [0, 0.2, 1], "values of 0..1, taken as they are"),
        (np.float64([-1, -0.6, 1]), [0, 0.2, 1], "values of -1..1, moved to 0..1"),
        (np.array([False, True]), [0, 1], "values of 0..1, taken as they are"),
    ],
)
def test_one_rule_scales_and_says_what_it_did(images, expected, said):
    scale = scale_of(images)
    applied = scale.applied(images)
    assert applied.dtype in (np.uint8, np.float32)
    np.testing.assert_allclose(values_of(applied), expected, atol=1e-6)
    assert str(scale).replace("1.0005", "1").replace("1.001", "1") == said


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (np.uint8([0, 1]), "whole numbers must have white at 255, the lightest .* is 1: give"),
        (np.uint8([0, 16]), "the lightest pixel of all is 16"),
        (np.int64([0, 256]), r"whole numbers must be of 0\.\.255, got 0\.\.256"),
        (np.int64([-1, 200]), r"got -1\.\.200"),
        (np.float32([0, 1.5]), r"floats must have white at 255, the lightest .* is 1\.5"),
        (np.float32([-2.1, 2.6]), r"floats must be of 0\.\.1, -1\.\.1 or 0\.\.255, got -2\.1"),
        (np.float32([0, 300]), r"got 0\.\.300"),
        (np.float32([0, np.nan, 1]), "must be finite numbers"),
        (np.float32([0, np.inf]), "must be finite numbers"),
        (np.array(["a"]), "images must be numbers, got <U1"),
    ],
)
def test_what_is_not_sure_is_refused(images, message):
    with pytest.raises(ValueError, match=message):
        scale_of(images)


def test_both_parts_are_scaled_alike_and_bytes_are_not_copied():
    images, dark = np.uint8([[[0, 200]]]), np.uint8([[[0, 1]]])  # the rule sees all parts
    made = datasets.from_arrays(images, [0], dark, [0], class_names=["a"])
    assert np.shares_memory(made.train_images, images)
    assert values_of(made.test_images).max() == pytest.approx(1 / 255)
    with pytest.raises(ValueError, match="all whole numbers or all floats, got both"):
        datasets.from_arrays(images, [0], dark / 255.0, [0])


# The split


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=6).filter(lambda counts: max(counts) > 1),
    st.floats(0.05, 0.95),
    st.integers(0, 5),
)
def test_every_class_is_held_back_in_its_share(counts, share, seed):
    labels = np.repeat(np.arange(len(counts)), counts)  # sorted by class
    kept, held = stratified(labels, share, seed)
    assert sorted([*kept, *held]) == list(range(len(labels)))
    for label, count in enumerate(counts):
        got = np.sum(labels[held] == label)
        assert abs(got - share * count) <= 1
        assert count < 2 or 0 < got < count
    again = stratified(labels, share, seed)
    assert np.array_equal(kept, again[0])
    assert np.array_equal(held, again[1])


def test_a_split_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least 2 images for one to be held back, got 3"):
        stratified(np.arange(3), 0.5)
    with pytest.raises(ValueError, match="share must be above 0 and below 1, got 1"):
        stratified(np.zeros(3), 1)


# Arrays


@pytest.mark.parametrize(
    "labels", [np.arange(10) % 2, (np.arange(10) % 2)[:, None], np.eye(2)[np.arange(10) % 2],
               np.array(["cat", "dog"])[np.arange(10) % 2], (np.arange(10) % 2).astype(float)]
)  # fmt: skip
def test_labels_of_any_form_and_images_without_channels(labels):
    images = np.zeros((10, 4, 5), np.uint8)
    images[1::2] = 255
    made = datasets.from_arrays(images, labels)
    assert made.image_shape == (4, 5, 1)
    assert made.class_names in (("0", "1"), ("cat", "dog"))
    assert len(made.test_labels) == 2
    for part in ("train", "test"):  # images and labels are still each other's
        lightest = getattr(made, f"{part}_images").max(axis=(1, 2, 3)) / 255
        assert lightest.tolist() == getattr(made, f"{part}_labels").tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.5, 1], "whole numbers from 0"),
        ([-1, 0], "whole numbers from 0"),
        ([0, 1, 1], "one an image, got 3 for 2 images"),
        ([[1, 1], [0, 1]], r"one-hot, got int64 \(2, 2\)"),
    ],
)
def test_labels_that_are_none(labels, message):
    with pytest.raises(ValueError, match=message):
        datasets.from_arrays(noise(2), labels)


def test_images_that_are_none():
    with pytest.raises(ValueError, match=r"train_images must be \(n, height, width\) or .* got"):
        datasets.from_arrays(np.zeros((5, 100)), np.zeros(5, int))
    with pytest.raises(ValueError, match="must be given together"):
        datasets.from_arrays(noise(2), [0, 1], noise(2))


# Files


def test_an_npz_with_and_without_test_images(tmp_path):
    images, labels = noise(20), np.arange(20) // 10
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=labels, class_names=["x", "y"])
    made = datasets.load(tmp_path / "a.npz")
    assert (made.train_images.shape, len(made.test_labels)) == ((16, 6, 6, 3), 4)
    assert made.class_names == ("x", "y")
    assert "divided by 255. A random fifth of each class is kept for the test." in made.note
    np.savez(tmp_path / "b.npz", train_images=images, train_labels=labels, test_images=images[:3],
             test_labels=labels[:3])  # fmt: skip
    made = datasets.load(tmp_path / "b.npz")
    assert np.array_equal(made.test_images, images[:3])
    with pytest.raises(ValueError, match=r"size of .* must be 6x6 or None, got 8"):
        datasets.load(tmp_path / "b.npz", size=8)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"images": noise(2)}, "must hold train_images, train_labels, .* got images"),
        ({"train_images": noise(2)}, "it lacks train_labels"),
        (
            {"train_images": noise(2) / 100.0, "train_labels": [0, 0]},
            r"c\.npz: images of floats must have white at 255",
        ),
    ],
)
def test_an_npz_of_another_form(tmp_path, content, message):
    np.savez(tmp_path / "c.npz", **content)
    with pytest.raises(ValueError, match=message):
        datasets.load(tmp_path / "c.npz")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\3\4 cut off"])
def test_a_file_that_is_no_npz(tmp_path, content):
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(ValueError, match=r"d\.npz is not an \.npz file of arrays"):
        datasets.load(tmp_path / "d.npz")


def idx(array):
    head = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_idx(folder, images, labels):
    """Half of the files gzipped, as they come from MNIST and from unpacking it."""
    folder.mkdir(parents=True)
    for part, some in (("train", slice(None)), ("t10k", slice(0, 4))):
        zipped = gzip.compress(idx(images[some]))
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(zipped)
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(labels[some]))
    return folder


def test_idx_files_gzipped_or_not(tmp_path):
    images, labels = noise(30, 5, 1)[..., 0], np.arange(30) % 10
    made = datasets.load(write_idx(tmp_path / "idx", images, labels))
    assert np.array_equal(made.train_images[..., 0], images)
    assert np.array_equal(made.train_labels, labels)
    assert made.test_images.shape == (4, 5, 5, 1)
    assert made.class_names == tuple("0123456789")


def test_fashion_mnist_from_debian_and_where_it_is_not(tmp_path, monkeypatch):
    folder = tmp_path / "dataset-fashion-mnist"
    write_idx(folder, noise(30, 28, 1)[..., 0], np.arange(30) % 10)
    there = str(tmp_path.relative_to("/") / "*fashion-mnist*")
    monkeypatch.setattr(downloads, "_DEBIAN", (there,))
    made = datasets.load("fashion-mnist")
    assert made.image_shape == (28, 28, 1)
    assert made.class_names[9] == "Ankle boot"

    def load_data():
        raise Exception("URL fetch failure")  # what Keras raises

    monkeypatch.setattr(downloads, "_DEBIAN", ())
    monkeypatch.setattr(downloads, "package", lambda *_: types.SimpleNamespace(load_data=load_data))
    with pytest.raises(ConcurrentError, match="Debian's dataset-fashion-mnist; the download"):
        datasets.load("fashion-mnist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PNG?", "must begin as an IDX file, got 50 4e 47 3f"),
        (struct.pack(">BBBBI", 0, 0, 13, 1, 1) + b"1234", "unsigned bytes .* got type 13"),
        (idx(np.zeros(4))[:-1], r"must hold 4 bytes of shape \(4,\), got 3"),
        (idx(np.zeros(4)) + b"x", r"must hold 4 bytes of shape \(4,\), got 5"),
        (struct.pack(">BBBBI", 0, 0, 8, 1, 2**32 - 1), "must hold 4,294,967,295 bytes .* got 0"),
        (b"\0\0\10\3\0", "is damaged"),
    ],
)
def test_a_damaged_idx_file(tmp_path, content, message):
    write_idx(tmp_path / "idx", noise(4, 5, 1)[..., 0], np.zeros(4))
    (tmp_path / "idx" / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        datasets.load(tmp_path / "idx")


def test_a_gzip_that_was_cut_off(tmp_path):
    folder = write_idx(tmp_path / "idx", noise(40, 5, 1)[..., 0], np.zeros(40))
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError, match=r"train-images.* is damaged"):
        datasets.load(folder)


# Folders of pictures


def test_class_folders_are_read_as_infer_reads_a_picture(tmp_path):
    write_pictures(tmp_path, ["dogs", "cats", "emus"], 10, shape=(12, 9), suffix="jpg")
    told = []
    made = datasets.load(tmp_path, size=(6, 8), progress=lambda *done: told.append(done))
    assert made.class_names == ("cats", "dogs", "emus")  # by name, as Keras counts them
    assert (made.train_images.shape, made.test_images.shape) == ((24, 6, 8, 3), (6, 6, 8, 3))
    assert np.bincount(made.test_labels).tolist() == [2, 2, 2]
    spec = TensorSpec((1, 6, 8, 3), "float32")
    shown = {
        read_image(path, spec, made.preprocessing).tobytes(): path.parent.name
        for path in tmp_path.rglob("*.jpg")
    }
    for part in ("train", "test"):
        images = values_of(getattr(made, f"{part}_images"))
        for image, label in zip(images, getattr(made, f"{part}_labels"), strict=True):
            assert shown.pop(image.tobytes()) == made.class_names[label]
    assert shown == {}
    assert told[0] == (0, 30)
    assert told[-1] == (30, 30)
    assert "6x8x3, stretched to that size; bytes, divided by 255" in made.note


def test_labels_are_those_of_keras(tmp_path):
    import keras

    write_pictures(tmp_path, ["b", "a"], 10)
    read = keras.utils.image_dataset_from_directory(tmp_path, image_size=(6, 6), shuffle=False)
    theirs = datasets.from_tf_data(read, read)
    ours = datasets.load(tmp_path)
    assert theirs.class_names == ours.class_names
    of = dict(zip([i.tobytes() for i in theirs.train_images], theirs.train_labels, strict=True))
    for image, label in zip(ours.train_images, ours.train_labels, strict=True):
        assert of[image.tobytes()] == label


def test_folders_with_a_test_of_their_own(tmp_path):
    write_pictures(tmp_path / "train", ["a", "b"], 4)
    write_pictures(tmp_path / "val", ["a", "b"], 2)
    made = datasets.load(tmp_path)
    assert (len(made.train_labels), len(made.test_labels)) == (8, 4)
    write_pictures(tmp_path / "test", ["b"], 3)
    (tmp_path / "test" / "a").mkdir()
    with pytest.raises(ValueError, match="test/a must hold pictures"):
        datasets.load(tmp_path)
    (tmp_path / "test" / "a").rmdir()
    write_pictures(tmp_path / "test", ["a"], 3)
    made = datasets.load(tmp_path)
    assert (len(made.train_labels), len(made.test_labels)) == (12, 6)
    assert made.note.endswith("Tested on test, those of val are trained on.")
    write_pictures(tmp_path / "test", ["c"], 1)
    with pytest.raises(ValueError, match="test must hold the classes of train, got also c"):
        datasets.load(tmp_path)


def test_pictures_of_many_sizes_and_greys(tmp_path):
    write_pictures(tmp_path, ["a", "b"], 3, mode="L")
    assert datasets.load(tmp_path).image_shape == (6, 6, 1)  # their own
    write_pictures(tmp_path, ["c"], 3, shape=(9, 9))
    assert datasets.load(tmp_path).image_shape == (96, 96, 3)
    cropped = datasets.load(tmp_path, size=8, resize="crop")
    assert (cropped.image_shape, cropped.preprocessing.resize) == ((8, 8, 3), "crop")


def test_folders_that_hold_no_set(tmp_path):
    with pytest.raises(ValueError, match="for each of at least 2 classes, got none"):
        datasets.load(tmp_path)
    write_pictures(tmp_path, ["a", "b"], 3)
    (tmp_path / "a" / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"broken.jpg is not an image that Pillow reads"):
        datasets.load(tmp_path)


# tf.data


@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("channels", [1, 3])
def test_tf_data_batched_or_not(batch, channels):
    import tensorflow as tf

    images, labels = noise(10, 5, channels), np.arange(10) % 2
    source = tf.data.Dataset.from_tensor_slices((images.astype(np.float32), labels))
    made = datasets.from_tf_data(source.batch(batch) if batch else source, source)
    assert made.train_images.dtype == np.uint8
    assert np.array_equal(made.train_images, images)
    assert np.array_equal(made.train_labels, labels)
    with pytest.raises(ValueError, match="must come to an end"):
        datasets.from_tf_data(source.repeat())
    with pytest.raises(ValueError, match=r"must be a tf.data.Dataset, got ndarray"):
        datasets.from_tf_data(images)


# Memory


def test_reading_takes_little_more_than_the_data_itself(tmp_path):
    """In a process of its own, whose high-water mark is the reading's."""
    import subprocess
    import sys

    images = np.broadcast_to(noise(1, 64), (4000, 64, 64, 3))  # 49 MB
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=np.arange(4000) // 2000)
    code = """
import resource, sys
from keras_concurrent import datasets
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
made = datasets.load(sys.argv[1])
print((peak() - before) / (made.train_images.nbytes + made.test_images.nbytes))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.npz"], capture_output=True, text=True, check=True
    )
    assert float(done.stdout) < 2.5  # the file's arrays and the split's; as floats it was 13
