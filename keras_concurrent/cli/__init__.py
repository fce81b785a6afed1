"""The ``keras-concurrent`` command. Every command is a thin call of the library.

Heavy modules are imported inside the commands, so that ``--version`` and ``--help`` answer at once
and a board needs no TensorFlow.
"""

from keras_concurrent.cli import (  # noqa: F401 - they add their commands
    boards,
    cluster,
    design,
    export,
    infer,
    place,
    search,
    serve,
    watch,
)
from keras_concurrent.cli.command import main as main
