"""Cut and run networks that this project did not make: one float32, one full int8.

    python examples/foreign_models.py

Both come from keras.applications with random weights (nothing is downloaded). Each is planned on
four described boards, cut, run by board processes on this machine, and compared with the uncut
model. A usual network is one long chain, so one board is often the honest plan; to show the cut all
the same, the boards here are described as slow and the network as fast.
"""

import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from keras_concurrent import Cluster, TfliteFile, export_bundle, to_tflite
from keras_concurrent.board import Board
from keras_concurrent.edge.testbed.local_boards import free_ports
from keras_concurrent.edge.watch.bench import measure_bundle, random_images
from keras_concurrent.network import Network


def full_int8(model: keras.Model, seed: int = 0) -> bytes:
    """TensorFlow's own full-integer conversion, calibrated on random images."""
    rng = np.random.default_rng(seed)
    shape = (1, *model.input_shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)])
    def infer(image):
        return model(image, training=False)

    converter = tf.lite.TFLiteConverter.from_concrete_functions([infer.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [rng.random(shape, dtype=np.float32)] for _ in range(8)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def cluster(boards: int = 4) -> Cluster:
    """Slow boards on a fast network."""
    described = tuple(
        Board(f"slow-{i}", 0.5, f"tcp/127.0.0.1:{port}")
        for i, port in enumerate(free_ports(boards), start=1)
    )
    return Cluster(described, Network(bandwidth_mbit_per_s=10_000, latency_ms=0.1))


def main() -> None:
    """Print one line a network."""
    keras.utils.set_random_seed(0)
    nasnet = keras.applications.NASNetMobile(weights=None, input_shape=(96, 96, 3))
    inception = keras.applications.InceptionV3(weights=None, input_shape=(96, 96, 3))
    models = {"NASNetMobile, float32": to_tflite(nasnet), "InceptionV3, int8": full_int8(inception)}
    for name, content in models.items():
        file = TfliteFile(content)
        where = cluster()
        with tempfile.TemporaryDirectory() as folder:
            bundle = export_bundle(file, where, Path(folder) / "bundle")
            measured, _ = measure_bundle(bundle, where, random_images(bundle, 10), local=True)
        plan = bundle.placement("boards")
        print(
            f"{name}: {len(file.operators)} operators, {len(bundle.manifest.segments) - 1} "
            f"segments on {len(plan.programs)} boards; largest difference to the uncut model "
            f"{measured.max_abs_diff_tflite:g} over {measured.images} images"
        )


if __name__ == "__main__":
    main()
