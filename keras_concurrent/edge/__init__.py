"""What runs a bundle: boards, their client, the links between them. Never TensorFlow.

`Interpreter` asks the boards as a script asks LiteRT's interpreter, see
`keras_concurrent.edge.litert.interpreter`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from keras_concurrent.edge.litert.interpreter import Interpreter as Interpreter

__all__ = ["Interpreter"]


def __getattr__(name: str) -> Any:
    """The interpreter, once it is asked for: what is beside it must not load it."""
    if name == "Interpreter":
        from keras_concurrent.edge.litert.interpreter import Interpreter

        return Interpreter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
