"""Values as JSON and back; what may come is what a dataclass's annotations say.

A value is made of frozen dataclasses, numbers, strings, tuples and mappings by name. Where several
dataclasses may stand, a value travels under its class's name. A field of ``bytes``, or of anything
that may stand for them, is no part of the text: it travels beside it.

What does not fit raises ``ValueError`` and says where: nothing is repaired, guessed or left out.
Only control characters in texts are replaced, since people read them in terminals.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache, reduce
from operator import or_
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from keras_concurrent.edge.printable import printable

_LARGEST = 1 << 64
_BESIDE = (bytes, bytes | memoryview)
_dumps = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
Read = Callable[[Any], Any]
Write = Callable[[Any], Any]


def to_json(kind: Any, value: object) -> bytes:
    """The text of a value of a kind."""
    return _dumps(_writer(kind)(value)).encode()


def from_json(kind: Any, text: bytes) -> Any:
    """The value of a kind that a text says.

    Raises:
        ValueError: it says something else.
    """
    try:
        plain = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    return _reader(kind)(plain)


@cache
def _writer(kind: Any) -> Write:
    """What turns a value of a kind into what JSON can hold."""
    arguments = get_args(kind)
    if get_origin(kind) is tuple:
        return _each(_writer(arguments[0]))
    if get_origin(kind) is Mapping:
        return _values(_writer(arguments[1]))
    if NoneType in arguments:
        return _optional(_writer(_without_none(kind)))
    if len(_choices(kind)) > 1:
        writers = {choice: _fields_written(choice) for choice in _choices(kind).values()}
        return lambda value: {type(value).__name__: writers[type(value)](value)}
    return _fields_written(kind) if is_dataclass(kind) else _as_it_is


def _as_it_is(value: Any) -> Any:
    return value


def _each(write: Write) -> Write:
    return _as_it_is if write is _as_it_is else lambda value: [write(item) for item in value]


def _values(write: Write) -> Write:
    return lambda value: {name: write(item) for name, item in value.items()}


def _fields_written(kind: Any) -> Write:
    names = [name for name, hint in _hints(kind).items() if hint not in _BESIDE]
    writers = {n: w for n in names if (w := _writer(_hints(kind)[n])) is not _as_it_is}

    def written(value: Any) -> dict[str, Any]:
        plain = {name: getattr(value, name) for name in names}
        for name, write in writers.items():
            plain[name] = write(plain[name])
        return plain

    return written


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    """The annotation of each field of a dataclass."""
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


@cache
def _choices(kind: Any) -> Mapping[str, Any]:
    """The dataclasses of which one may stand here, by the names under which they travel."""
    choices = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    return {getattr(choice, "__name__", ""): choice for choice in choices if is_dataclass(choice)}


def _without_none(kind: Any) -> Any:
    return reduce(or_, (argument for argument in get_args(kind) if argument is not NoneType))


@cache
def _reader(kind: Any) -> Read:
    """What turns parsed JSON into a value of a kind, or raises ``ValueError``."""
    arguments = get_args(kind)
    if kind in _SCALARS:
        return _SCALARS[kind]
    if get_origin(kind) is tuple:
        return _tuple_of(_reader(arguments[0]))
    if get_origin(kind) is Mapping:
        return _mapping_of(_reader(arguments[1]))
    if NoneType in arguments:
        return _optional(_reader(_without_none(kind)))
    if len(_choices(kind)) > 1:
        return _one_of(kind)
    return _dataclass(kind)


def _whole(plain: Any) -> int:
    if type(plain) is not int or not 0 <= plain < _LARGEST:
        raise _unexpected("a whole number of 0 or more", plain)
    return plain


def _number(plain: Any) -> float:
    if type(plain) not in (int, float) or not math.isfinite(plain):
        raise _unexpected("a number", plain)
    return float(plain)


def _text(plain: Any) -> str:
    if type(plain) is not str:
        raise _unexpected("a text", plain)
    return printable(plain)


def _truth(plain: Any) -> bool:
    if type(plain) is not bool:
        raise _unexpected("true or false", plain)
    return plain


_SCALARS: Mapping[Any, Read] = {int: _whole, float: _number, str: _text, bool: _truth}


def _tuple_of(read: Read) -> Read:
    def items(plain: Any) -> tuple[Any, ...]:
        if type(plain) is not list:
            raise _unexpected("a list", plain)
        return tuple([read(item) for item in plain])

    return items


def _mapping_of(read: Read) -> Read:
    def entries(plain: Any) -> dict[str, Any]:
        if type(plain) is not dict:
            raise _unexpected("an object", plain)
        return {printable(name): read(item) for name, item in plain.items()}

    return entries


def _optional(read: Read) -> Read:
    return _as_it_is if read is _as_it_is else lambda plain: None if plain is None else read(plain)


def _one_of(kind: Any) -> Read:
    readers = {name: _reader(choice) for name, choice in _choices(kind).items()}

    def chosen(plain: Any) -> Any:
        if type(plain) is not dict or len(plain) != 1 or not plain.keys() <= readers.keys():
            raise _unexpected(f"one of {', '.join(readers)}", plain)
        ((name, own),) = plain.items()
        return readers[name](own)

    return chosen


def _dataclass(kind: Any) -> Read:
    readers = {name: _reader(hint) for name, hint in _hints(kind).items() if hint not in _BESIDE}
    optional = {field.name for field in fields(kind) if field.default is not MISSING}
    required = readers.keys() - optional

    def made(plain: Any) -> Any:
        if type(plain) is not dict or not required <= plain.keys() <= readers.keys():
            raise _unexpected(f"{kind.__name__} with {', '.join(readers) or 'nothing'}", plain)
        name = ""
        try:
            return kind(**{(name := key): readers[key](item) for key, item in plain.items()})
        except ValueError as error:
            raise ValueError(f"{kind.__name__}.{name}: {error}") from None

    return made


def _unexpected(wanted: str, plain: object) -> ValueError:
    return ValueError(f"expected {wanted}, got {plain!r:.80}")
