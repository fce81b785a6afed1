"""All that travels: read as written, or refused with what is wrong; versions that differ."""

import json
import time
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from messages import values

from keras_concurrent.edge.link import answers, questions
from keras_concurrent.edge.link.protocol import (
    MOST_TEXT_BYTES,
    PROTOCOL_VERSION,
    Answer,
    Ask,
    Drop,
    Failed,
    Message,
    Probe,
    Tensor,
    content_of,
    decode,
    encode,
    new_session,
    version_fault,
    with_content,
)
from keras_concurrent.errors import ProtocolError

IDENTITY = answers.Identity("pi1", "ab", None, 1.5, ("pi2",))
ANSWER = encode(Answer(1, 1, IDENTITY))[0]


@given(message=values(Message))
def test_whatever_is_said_is_read_as_it_was_written(message):
    text, content = encode(message)
    assert content == content_of(message)
    assert with_content(decode(text), content) == message


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["Tensor", "Ask", "Links", "session", "number", "question", "Ping", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(text=st.binary(max_size=64) | JSON.map(lambda value: json.dumps(value).encode()))
def test_anything_else_is_refused(text):
    try:
        message = decode(text)
    except ProtocolError:
        return
    assert json.loads(encode(message)[0]) == json.loads(text)


def places(value, path=()):
    """Paths to everything within a JSON value."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in inside:
        yield (*path, key)
        if isinstance(item, (dict, list)):
            yield from places(item, (*path, key))


@given(message=values(Message), data=st.data())
def test_a_message_that_lacks_something_or_has_something_else_is_refused(message, data):
    said = json.loads(encode(message)[0])
    *path, last = data.draw(st.sampled_from(list(places(said))))
    within = said
    for key in path:
        within = within[key]
    if data.draw(st.booleans()):
        within[last] = {"another": "thing"}
    elif isinstance(within, dict):
        del within[last]
    text = json.dumps(said).encode()
    try:
        taken = decode(text)
    except ProtocolError:
        return
    # A mapping may hold what it likes; what may be left out is none then.
    assert without_nones(json.loads(encode(taken)[0])) == without_nones(said)


def without_nones(value):
    if isinstance(value, dict):
        return {key: without_nones(item) for key, item in value.items() if item is not None}
    return [without_nones(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b'{"Drop":{"session":1}}', "expected Drop with session, image, got {'session': 1}"),
        (b'{"Drop":{"session":true,"image":1}}', "Drop.session: expected a whole number of 0 or"),
        (b'{"Drop":{"session":-1,"image":1}}', "Drop.session: expected a whole number of 0 or mo"),
        (b'{"Dance":{}}', "expected one of Tensor, .*, got {'Dance': {}}"),
        (b'{"Ask":{"session":1,"number":1,"question":{"Dance":{}}}}', "Ask.question: expected one"),
        (b'{"Links":{"unreached":"pi1"}}', "Links.unreached: expected a list, got 'pi1'"),
        (b'{"Links":{"unreached":[1]}}', "Links.unreached: expected a text, got 1"),
        (encode(Answer(1, 1, IDENTITY))[0].replace(b"1.5", b"NaN"), "Identity.clock_s: expected a"),
        (
            encode(Answer(1, 1, IDENTITY))[0].replace(b'"clock_s":1.5,', b""),
            "expected Identity wit",
        ),
        (b"[" * 100_000, "it is nested too deep"),
        (b'{"Drop"', "none of ours"),
        (b"\xff\xfe", "none of ours"),
    ],
)
def test_what_is_wrong_with_a_message_is_said(text, fault):
    with pytest.raises(ProtocolError, match=fault):
        decode(text)


def test_a_text_of_too_many_bytes_is_not_looked_at():
    with pytest.raises(ProtocolError, match="must be at most"):
        decode(b" " * (MOST_TEXT_BYTES + 1))


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202eback\ud800\x00"
CLEANED = "?]0;owned??[2J?31m?back??"


def test_what_is_said_does_nothing_to_a_terminal():
    said = Answer(1, 1, answers.Refusal(HOSTILE))
    assert decode(encode(said)[0]) == Answer(1, 1, answers.Refusal(CLEANED))
    measured = Answer(1, 1, answers.Measured({HOSTILE: 1.0}))
    assert decode(encode(measured)[0]).result.seconds == {CLEANED: 1.0}
    for text in ("Grüße, 模型 👩\u200d🔬", "a\u00a0b"):  # what people write stays
        assert decode(encode(Failed(1, 1, "s", text))[0]).cause == text
    assert decode(encode(Failed(1, 1, "s", "one\r\n\ttwo"))[0]).cause == "one two"


def test_bytes_come_only_with_what_has_them():
    whole = Ask(1, 2, questions.File("ab", b"content"))
    bare = decode(encode(whole)[0])
    assert bare == Ask(1, 2, questions.File("ab"))
    assert with_content(bare, b"content") == whole
    assert with_content(Probe(1, 2), bytes(3)) == Probe(1, 2, bytes(3))
    for message in (Drop(1, 2), Ask(1, 2, questions.Ping()), Answer(1, 2, IDENTITY)):
        assert with_content(message, b"") == message
        with pytest.raises(ProtocolError, match="has no content, and 1 bytes came"):
            with_content(message, b"x")


def test_every_question_has_a_kind_of_answer_that_may_travel():
    for question in get_args(questions.AnyQuestion):
        assert question.answer in get_args(answers.Result)
    assert str(questions.RollBack()) == "roll back"
    assert str(questions.File("ab", b"content")) == "file"


def test_a_tensors_text_is_short():
    text, _ = encode(Tensor(time.time_ns(), 10**6, 3, 12, b""))
    assert len(text) < 150


def test_who_speaks_what_is_said_with_what_to_do():
    assert version_fault("board pi1", 1, "client") == (
        f"board pi1 speaks protocol 1, this client {PROTOCOL_VERSION}: install the same version of "
        "keras-concurrent on both"
    )


def test_no_two_clients_have_the_same_session():
    sessions = {new_session() for _ in range(10_000)}
    assert len(sessions) == 10_000
    assert all(0 < session < 2**64 for session in sessions)  # 0 is boards' own probes'


def test_nothing_that_comes_from_outside_is_unpickled():
    package = Path(__file__).parents[3] / "keras_concurrent"
    own_processes = {"polish.py", "screening.py"}  # what they unpickle comes through their own pipe
    for path in package.rglob("*.py"):
        source = path.read_text()
        assert "allow_pickle=True" not in source, path
        assert ("import pickle" in source) == (path.name in own_processes), path
