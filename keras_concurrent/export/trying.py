"""Whether a model can run at all, tried here before anything is planned or sent."""

from __future__ import annotations

from keras_concurrent.edge.manifest import DTYPES
from keras_concurrent.errors import BundleError, ModelFileError, TrialError
from keras_concurrent.tflite.file import TfliteFile
from keras_concurrent.trial import check_runs


def check_boards_can_run(file: TfliteFile) -> None:
    """A model takes and gives what can be sent, and this machine's interpreter runs it.

    Boards have the same operators; a board whose interpreter is older may still refuse one.

    Raises:
        ModelFileError: it does not; says why, in the interpreter's own words.
    """
    for name in (*file.inputs, *file.outputs):
        dtype = file.tensors[name].dtype
        if dtype not in DTYPES:
            raise ModelFileError(
                f"no board can run {file.origin}: its {name!r} has the type {dtype}, expected one "
                f"of {', '.join(DTYPES)}"
            )
        if name in file.unsettled:
            raise ModelFileError(
                f"no board can run {file.origin}: the size of its {name!r} is known only when it "
                "runs"
            )
    shapes = {name: file.tensors[name].shape for name in file.outputs}
    try:
        check_runs(file.data, "the model", shapes)
    except (BundleError, TrialError) as error:
        raise ModelFileError(f"no board can run {file.origin}: {error}") from error
