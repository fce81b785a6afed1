"""Any value that the protocol's classes allow, for property tests."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from types import NoneType
from typing import get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from keras_concurrent.edge.printable import printable

# What people read has no control characters, see `keras_concurrent.edge.printable`.
TEXTS = st.text(max_size=9).filter(lambda text: printable(text) == text)
SCALARS = {
    int: st.integers(0, 2**64 - 1),
    float: st.floats(allow_nan=False, allow_infinity=False),
    str: TEXTS,
    bool: st.booleans(),
    bytes: st.binary(max_size=40),
    memoryview: st.binary(max_size=40).map(memoryview),
    NoneType: st.none(),
}


def values(kind):
    """Values of a kind, as its annotations say."""
    if kind in SCALARS:
        return SCALARS[kind]
    if get_origin(kind) is tuple:
        return st.lists(values(get_args(kind)[0]), max_size=3).map(tuple)
    if get_origin(kind) is Mapping:
        return st.dictionaries(TEXTS, values(get_args(kind)[1]), max_size=3)
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        return st.builds(kind, **{field.name: values(hints[field.name]) for field in fields(kind)})
    return st.one_of([values(choice) for choice in get_args(kind)])
