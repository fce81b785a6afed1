"""Bounds of tensors: by hand where the graph proves them, and kept by what images give."""

import math

from pieces import image_for
from small_files import converted

from keras_concurrent.wire.ranges import measured_ranges, proven_ranges


def test_ranges_that_follow_from_the_graph():
    import tensorflow as tf

    def function(x, y):
        a, b = tf.sigmoid(x), tf.tanh(y)
        c = a * 2.0 + b * -3.0
        return c, tf.nn.relu(c * 0.5), tf.reshape(x, (2, 2))

    file = converted(function, (1, 4), (1, 4))
    bounds = proven_ranges(file)
    by_output = [bounds.get(name) for name in file.outputs]
    # 2 x (0..1) - 3 x (-1..1) = -3..5; its half without what is below zero: 0..2.5.
    assert (-3.0, 5.0) in by_output
    assert (0.0, 2.5) in by_output
    assert None in by_output
    assert measured_ranges(file, (), [{}]) == {}


def test_measured_values_keep_to_proven_ranges(small_file):
    proven = proven_ranges(small_file)
    images = [image_for(small_file, seed) for seed in range(4)]
    assert len(proven) > 20
    for name, (low, high) in measured_ranges(small_file, tuple(proven), images).items():
        least, most = proven[name]
        assert least - 1e-6 <= low <= high <= most + 1e-6, name
        assert math.isfinite(least + most)


def test_a_product_lies_between_the_products_of_the_ends():
    import tensorflow as tf

    def function(x, y):
        a = tf.sigmoid(x) * 3.5 + -1.5  # -1.5..2
        b = tf.sigmoid(y) * 2.0  # 0..2
        c = tf.sigmoid(y) * -2.0  # -2..0
        return a * b, a * c, tf.nn.relu(a * b)

    file = converted(function, (1, 4), (1, 4))
    bounds = proven_ranges(file)
    # Each of the four products of two ends is once the least or the greatest.
    products = [(-1.5 * 2, 2 * 2), (2 * -2, -1.5 * -2), (0, 2 * 2)]
    assert [bounds[name] for name in file.outputs] == products
