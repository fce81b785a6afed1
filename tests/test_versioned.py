"""One version check for all files: what it gives, what it refuses, and what it says then."""

import json

import pytest

from keras_concurrent.errors import BundleError
from keras_concurrent.versioned import FileKind

MAP = FileKind("a map", 3, "draw it anew")


def test_what_is_written_is_read_without_its_version():
    text = MAP.to_json({"rivers": 2, "towns": [1, 5]})
    assert json.loads(text) == {"schema_version": 3, "rivers": 2, "towns": [1, 5]}
    assert text.startswith('{\n "schema_version": 3')  # a person sees it first
    assert text.endswith("}\n")
    assert MAP.content(json.loads(text)) == {"rivers": 2, "towns": [1, 5]}
    assert MAP.to_toml_line() == "schema_version = 3"


def test_the_data_are_left_as_they_are():
    data = {"schema_version": 3, "rivers": 2}
    MAP.content(data)
    assert data == {"schema_version": 3, "rivers": 2}


@pytest.mark.parametrize("version", [2, 4, "3", 3.0, None])
def test_another_version_is_named_with_what_to_do(version):
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - the whole message follows
        MAP.content({"schema_version": version})
    assert str(refused.value) == f"a map must have schema_version 3, got {version!r}: draw it anew"


def test_the_file_is_named_where_the_reader_knows_it():
    with pytest.raises(ValueError, match=r"^seas\.json: a map must have schema_version 3, got 9: "):
        MAP.content({"schema_version": 9}, "seas.json")


def test_true_is_not_version_one_and_no_version_is_none():
    one = FileKind("a bundle", 1, "export it anew", BundleError)
    with pytest.raises(BundleError, match="must have schema_version 1, got True"):
        one.content({"schema_version": True})
    with pytest.raises(BundleError, match="must have schema_version 1, got None"):
        one.content({})


@pytest.mark.parametrize("data", [[], 3, "text", None])
def test_what_holds_no_keys_is_refused(data):
    with pytest.raises(
        ValueError, match=f"a map must hold keys and values, got {type(data).__name__}"
    ):
        MAP.content(data)
