"""The model that a user brings: a .tflite as it is, or a Keras model converted."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass, field, replace
from pathlib import Path

from keras_concurrent.edge.learnt import Learnt, read_learnt
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.tensorflow_loading import load_tensorflow
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.tflite.settling import InputShapes
from keras_concurrent.wire.samples import Samples

TFLITE_SUFFIXES = (".tflite", ".lite")


@dataclass(frozen=True)
class LoadedModel:
    """A model, and the same as it was before anything made it lighter.

    Args:
        file: in the precision that was asked for.
        original: in float32; of a .tflite, what was given. ``file`` itself where nothing changed.
        samples: images to measure ranges and accuracy on, where there are any.
        learnt: what a .keras file says of its classes and pictures.
    """

    file: TfliteFile
    original: TfliteFile
    samples: Samples | None
    learnt: Learnt = field(default_factory=Learnt)


def read_model(
    path: Path,
    precision: str = "float32",
    calibration: str | None = None,
    input_shapes: InputShapes | None = None,
    signature: str | None = None,
    preprocessing: Preprocessing | None = None,
) -> LoadedModel:
    """Read a model, and convert it where it is a Keras one.

    Args:
        path: a .keras or .tflite file; ``.lite`` and capitals will do.
        precision: what a Keras model is converted to, see `keras_concurrent.precision`.
        calibration: images to measure ranges and accuracy on, see
            `keras_concurrent.wire.samples.Samples.load`.
        input_shapes: sizes that the model leaves open, see `keras_concurrent.TfliteFile`.
        signature: of a .tflite the signature that is to run; by default its first graph.
        preprocessing: how a picture becomes what the model takes; by default what a .keras file
            says of it, see `keras_concurrent.edge.learnt`.

    Raises:
        ValueError: a file that is neither or is damaged, a .tflite in another precision, int8
            without images, images that cannot be had or have another shape, or shapes of inputs
            that there are not.
        ModelFileError: the .tflite cannot be read.
        ConversionError: the Keras model cannot be converted.
        MissingExtraError: a Keras model without TensorFlow.
    """
    suffix = path.suffix.lower()
    if suffix not in (".keras", *TFLITE_SUFFIXES):
        raise ValueError(f"a model must be a .keras or a .tflite file, got {path}")
    if suffix == ".keras":
        if signature is not None:
            raise ValueError(f"signature needs a .tflite, got {path}")
        if precision == "int8" and calibration is None:
            raise ValueError(
                "precision int8 needs images to calibrate on, such as calibration photos"
            )
        learnt = learnt_of(path)
        preprocessing = preprocessing or learnt.preprocessing
        converted = _converted(path, precision, calibration, preprocessing, input_shapes or {})
        return replace(converted, learnt=learnt)
    if precision != "float32":
        raise ValueError(f"precision {precision} needs a .keras model, got {path}")
    file = TfliteFile.read(path, input_shapes, signature)
    samples = None
    if calibration is not None:
        shape = file.tensors[file.inputs[0]].shape[1:]
        samples = Samples.load(calibration, shape, preprocessing)
    return LoadedModel(file, file, samples)


def learnt_of(path: Path) -> Learnt:
    """What a model's file says of its classes and pictures; nothing of a .tflite.

    Raises:
        ValueError: a damaged .keras file.
    """
    if path.suffix.lower() != ".keras":
        return Learnt()
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path} is damaged: it holds no Keras model")
    return read_learnt(path)


def _converted(
    path: Path,
    precision: str,
    calibration: str | None,
    preprocessing: Preprocessing | None,
    input_shapes: InputShapes,
) -> LoadedModel:
    load_tensorflow()
    import keras

    import keras_concurrent.layers  # noqa: F401 - registers the layers with Keras
    from keras_concurrent.convert import to_tflite, with_input_shapes

    model = keras.models.load_model(path)
    if input_shapes:
        model = with_input_shapes(model, input_shapes)
    samples = None
    if calibration is not None:
        samples = Samples.load(calibration, model.input_shape[1:], preprocessing)
    original = TfliteFile(to_tflite(model), str(path))
    if precision == "float32":
        return LoadedModel(original, original, samples)
    images = None if samples is None else samples.calibration
    lighter = to_tflite(model, precision=precision, images=images)
    return LoadedModel(TfliteFile(lighter, str(path)), original, samples)
