import contextlib
import copy
import random
import warnings

import flatbuffers
import keras
import networkx as nx
import numpy as np
import pytest
import tensorflow as tf
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from pieces import board_groups, check_pieces, image_for, random_groups, run

from keras_concurrent.convert import to_tflite
from keras_concurrent.errors import ModelFileError, UnknownOperatorWarning
from keras_concurrent.interpreter import Segment, quiet
from keras_concurrent.models import build_model
from keras_concurrent.networks.convolutions import BRANCHES
from keras_concurrent.networks.generators import generate
from keras_concurrent.networks.staging import stage
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.file import TfliteFile

# ---------------------------------------------------------------- bit for bit


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), pieces=st.integers(1, 20))
def test_convex_pieces_answer_bit_for_bit_as_the_whole(small_file, seed, pieces):
    graph = TaskGraph.from_tflite(small_file)
    check_pieces(small_file, random_groups(graph, random.Random(seed), pieces), seed)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32), boards=st.integers(2, 4), moved=st.integers(0, 6))
def test_a_board_assignment_runs_bit_for_bit_or_is_refused_as_cyclic(
    small_file, seed, boards, moved
):
    graph = TaskGraph.from_tflite(small_file)
    rng = random.Random(seed)
    # Blocks of a topological order, then some tasks moved to a random board.
    board_of = {
        name: number
        for number, group in enumerate(random_groups(graph, rng, boards))
        for name in group
    }
    for name in rng.sample(sorted(board_of), moved):
        board_of[name] = rng.randrange(boards)
    groups = [[n for n in board_of if board_of[n] == b] for b in sorted(set(board_of.values()))]
    quotient = nx.DiGraph(
        (board_of[a], board_of[b])
        for b, before in graph.predecessors.items()
        for a in before
        if board_of[a] != board_of[b]
    )
    if nx.is_directed_acyclic_graph(quotient):
        check_pieces(small_file, groups, seed)
    else:
        with pytest.raises(ValueError, match="groups must not wait for each other"):
            graph.quotient(groups)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32), boards=st.integers(2, 5))
def test_what_boards_run_between_waits_answers_bit_for_bit_as_the_whole(small_file, seed, boards):
    graph = TaskGraph.from_tflite(small_file)
    check_pieces(small_file, board_groups(graph, random.Random(seed), boards), seed)


@pytest.mark.parametrize("block", BRANCHES)
def test_usual_blocks_in_pieces_answer_bit_for_bit_as_the_whole(block):
    network = stage(
        generate("WS", 8, seed=2), (13, 11, 3), 5, staging="greedy", filters=4, channel_cap=16,
        block=block, depth=2,
    )  # fmt: skip
    keras.utils.set_random_seed(0)
    file = TfliteFile(to_tflite(build_model(network)))
    graph = TaskGraph.from_tflite(file)
    check_pieces(file, [[task.name] for task in graph.tasks])
    check_pieces(file, board_groups(graph, random.Random(1), 3))


def test_every_operator_alone_answers_bit_for_bit_as_the_whole(small_file):
    graph = TaskGraph.from_tflite(small_file)
    check_pieces(small_file, [[task.name] for task in graph.tasks])


# ---------------------------------------------------------------- a file made by hand

CONSTANT_SHAPE = (1, 16, 16, 64)
CONSTANT_BYTES = 16 * 16 * 64 * 4


def by_hand(mutate=lambda graph: None, alter=lambda model: None):
    """image + constant -> sum; sum * constant -> product; logistic(sum) -> squashed."""
    builtin = schema.BuiltinOperator
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = 3, [graph]
    model.operatorCodes = [coded(code) for code in (builtin.ADD, builtin.MUL, builtin.LOGISTIC)]
    constant = schema.BufferT()
    values = np.linspace(-1, 1, np.prod(CONSTANT_SHAPE), dtype=np.float32)
    constant.data = values.view(np.uint8)
    model.buffers = [schema.BufferT(), constant]
    graph.tensors = [
        described(name, buffer=1 if name == "constant" else 0)
        for name in ("image", "constant", "sum", "product", "squashed")
    ]
    graph.operators = [
        operator(0, [0, 1], [2], "AddOptions"),
        operator(1, [2, 1], [3], "MulOptions"),
        operator(2, [2], [4]),
    ]
    graph.inputs, graph.outputs = [0], [3, 4]
    mutate(graph)
    alter(model)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), values.reshape(CONSTANT_SHAPE)


def coded(code, custom=None):
    kind = schema.OperatorCodeT()
    kind.builtinCode, kind.version, kind.customCode = code, 1, custom
    kind.deprecatedBuiltinCode = min(code, 127)  # what readers of 2020 and before look at
    return kind


def described(name, shape=CONSTANT_SHAPE, buffer=0, kind="FLOAT32"):
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = name, list(shape), buffer
    tensor.type = getattr(schema.TensorType, kind)
    return tensor


def operator(code, inputs, outputs, options=None):
    made = schema.OperatorT()
    made.opcodeIndex, made.inputs, made.outputs = code, inputs, outputs
    if options:
        made.builtinOptions = getattr(schema, f"{options}T")()
        made.builtinOptionsType = getattr(schema.BuiltinOptions, options)
    return made


@pytest.fixture(scope="module")
def hand_made():
    content, constant = by_hand()
    return TfliteFile(content), constant


def test_operators_and_tensors_of_a_file(hand_made):
    file, _ = hand_made
    assert (file.inputs, file.outputs) == (("image",), ("product", "squashed"))
    assert [(o.kind, o.inputs, o.outputs) for o in file.operators] == [
        ("ADD", ("image",), ("sum",)),  # constants are no inputs
        ("MUL", ("sum",), ("product",)),
        ("LOGISTIC", ("sum",), ("squashed",)),
    ]
    assert [o.parameter_bytes for o in file.operators] == [CONSTANT_BYTES, CONSTANT_BYTES, 0]
    assert [o.flops for o in file.operators] == [16 * 16 * 64] * 3
    assert file.tensors["constant"].constant
    assert not file.tensors["sum"].constant
    assert file.tensors["sum"].bytes == CONSTANT_BYTES


def test_a_tensor_read_inside_can_be_given_too(hand_made):
    file, constant = hand_made
    values = image_for(file)
    run(file.cut([0, 1], ["image"], ["product", "sum"]), values)
    total = values["image"] + constant
    np.testing.assert_array_equal(values["sum"], total)
    np.testing.assert_array_equal(values["product"], total * constant)


def test_inputs_and_outputs_come_in_the_wanted_order(hand_made):
    file, constant = hand_made
    piece = file.cut([2, 1], ["sum"], ["squashed", "product"])
    assert Segment(piece).output_names == ("squashed", "product")
    values = {"sum": image_for(file)["image"]}
    run(piece, values)
    np.testing.assert_array_equal(values["product"], values["sum"] * constant)
    np.testing.assert_allclose(values["squashed"], 1 / (1 + np.exp(-values["sum"])), rtol=1e-5)


def test_a_piece_of_two_operators_holds_their_constant_once(hand_made):
    file, _ = hand_made
    both = file.cut([0, 1], ["image"], ["product"])
    assert CONSTANT_BYTES < len(both) < CONSTANT_BYTES + 4000
    assert len(file.cut([1], ["sum"], ["product"])) > CONSTANT_BYTES
    assert len(file.cut([2], ["sum"], ["squashed"])) < 4000  # and no other's


def test_a_cut_leaves_the_file_as_it_was(hand_made):
    file, _ = hand_made
    before = (file.operators, file.tensors, file.inputs, file.outputs)
    first = file.cut([0, 1], ["image"], ["product"])
    assert file.cut([0, 1], ["image"], ["product"]) == first
    again = TfliteFile(file.data)
    assert (again.operators, again.tensors, again.inputs, again.outputs) == before


def test_two_tensors_that_share_a_buffer_share_it_in_a_piece():
    def second_constant(graph):
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.buffer = "again", list(CONSTANT_SHAPE), 1
        graph.tensors.append(tensor)
        graph.operators[1].inputs = [2, 5]

    content, constant = by_hand(second_constant)
    file = TfliteFile(content)
    piece = file.cut([0, 1], ["image"], ["product"])
    assert CONSTANT_BYTES < len(piece) < CONSTANT_BYTES + 4000
    values = image_for(file)
    run(piece, values)
    np.testing.assert_array_equal(values["product"], (values["image"] + constant) * constant)


def test_constants_lie_where_vector_instructions_want_them(small_file):
    contents = [small_file.renamed({})]
    for operator in small_file.operators:
        contents.append(small_file.cut([operator.index], operator.inputs, operator.outputs))
    found = 0
    for content in contents:
        for buffer in schema.ModelT.InitFromPackedBuf(content, 0).buffers:
            if buffer.data is not None and len(buffer.data) >= 64:  # surely no other's bytes
                assert content.index(bytes(buffer.data)) % 16 == 0
                found += 1
    assert found > 20


def test_a_renamed_file_answers_alike(hand_made):
    file, _ = hand_made
    renamed = TfliteFile(file.renamed({"image": "photograph", "product": "answer"}))
    assert (renamed.inputs, renamed.outputs) == (("photograph",), ("answer", "squashed"))
    values = image_for(file)
    others = {"photograph": values["image"]}
    run(file.data, values)
    run(renamed.data, others)
    np.testing.assert_array_equal(others["answer"], values["product"])


def test_tensors_of_one_name_are_told_apart():
    def same_names(graph):
        for tensor in graph.tensors:
            tensor.name = "same"

    file = TfliteFile(by_hand(same_names)[0])
    assert len(file.tensors) == 5
    check_pieces(file, [[task.name] for task in TaskGraph.from_tflite(file).tasks])


def test_inputs_and_outputs_of_one_name_are_told_apart_when_the_whole_runs():
    def same_names(graph):
        for tensor in graph.tensors:
            tensor.name = "same"

    file = TfliteFile(by_hand(same_names)[0])
    assert Segment(file.data).output_names == file.outputs


# ---------------------------------------------------------------- FLOPs


def test_flops_by_hand():
    image = keras.Input((8, 8, 3), name="image")
    x = keras.layers.Conv2D(5, 3, strides=2, padding="same")(image)  # 4x4x5
    x = keras.layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same")(x)  # 4x4x10
    x = keras.layers.MaxPooling2D(2)(x)  # 2x2x10
    x = keras.layers.Flatten()(x)
    model = keras.Model(image, keras.layers.Dense(7, activation="softmax", name="classes")(x))
    found = {}
    for operator in TfliteFile(to_tflite(model)).operators:
        found[operator.kind] = found.get(operator.kind, 0) + operator.flops
    assert found.pop("RESHAPE", 0) == 0  # moves bytes only
    assert found == {
        "CONV_2D": 2 * (4 * 4 * 5) * (3 * 3 * 3),
        "DEPTHWISE_CONV_2D": 2 * (4 * 4 * 10) * (3 * 3),
        "MAX_POOL_2D": (2 * 2 * 10) * (2 * 2),
        "FULLY_CONNECTED": 2 * 7 * (2 * 2 * 10),
        "SOFTMAX": 7,
    }


# ---------------------------------------------------------------- errors


@pytest.mark.parametrize("content", [b"", b"TFL3", b"PK\x03\x04 a .keras archive, perhaps"])
def test_what_is_no_tflite_is_refused(content):
    with pytest.raises(ModelFileError, match=r"photo\.tflite is not a .tflite file: expected"):
        TfliteFile(content, "photo.tflite")


@settings(max_examples=60, deadline=None)
@given(kept=st.floats(0, 0.999))
def test_a_truncated_file_is_refused_by_name(hand_made, kept):
    data = hand_made[0].data
    with pytest.raises(ModelFileError, match=r"photo\.tflite is (not a|damaged)"):
        TfliteFile(data[: int(kept * len(data))], "photo.tflite")


def test_a_path_that_cannot_be_read_is_named(tmp_path, hand_made):
    with pytest.raises(ModelFileError, match=r"cannot read .*nowhere\.tflite: No such file"):
        TfliteFile.read(tmp_path / "nowhere.tflite")
    with pytest.raises(ModelFileError, match=r"cannot read .*directory"):
        TfliteFile.read(tmp_path)
    (tmp_path / "good.tflite").write_bytes(hand_made[0].data)
    assert TfliteFile.read(tmp_path / "good.tflite").operators == hand_made[0].operators


def test_a_piece_that_reads_what_it_does_not_have_is_refused(hand_made):
    with pytest.raises(ModelFileError, match=r"operator 1 \(MUL\) reads 'sum', which the piece"):
        hand_made[0].cut([1], ["image"], ["product"])


@pytest.mark.parametrize("name", ["nothing", "squashed"])
def test_a_piece_that_gives_what_it_does_not_compute_is_refused(hand_made, name):
    with pytest.raises(ModelFileError, match=name):
        hand_made[0].cut([0], ["image"], [name])


@pytest.mark.parametrize(
    ("alter", "expected"),
    [
        (lambda model: setattr(model, "version", 2), "has schema version 2; expected version 3"),
        (
            lambda model: setattr(model, "externalBuffers", [schema.ExternalBufferT()]),
            "keeps weights in another file; expected all of them in its own",
        ),
        (
            lambda model: setattr(model.subgraphs[0].operators[1], "largeCustomOptionsSize", 9),
            "is damaged: the option block of operator 1 has 9 bytes outside the flatbuffer, but no",
        ),
        (lambda model: setattr(model, "subgraphs", []), "is damaged: it has no subgraph"),
        (
            lambda model: setattr(model.subgraphs[0].operators[2], "outputs", [7]),
            "is damaged: it refers to tensor 7 of 5",
        ),
        (
            lambda model: setattr(model.subgraphs[0].tensors[1], "buffer", 2),
            "is damaged: it refers to buffer 2 of 2",
        ),
        (
            lambda model: setattr(model.subgraphs[0].operators[0], "opcodeIndex", 3),
            "is damaged: it refers to operator code 3 of 3",
        ),
        (
            lambda model: setattr(model.subgraphs[0].tensors[2], "shape", [1, -3]),
            r"is damaged: 'sum' has the shape \(1, -3\)",
        ),
    ],
)
def test_a_file_that_cannot_be_read_is_refused_with_the_reason(alter, expected):
    with pytest.raises(ModelFileError, match=rf"photo\.tflite {expected}"):
        TfliteFile(by_hand(alter=alter)[0], "photo.tflite")


def test_a_file_above_2_gb_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "large.tflite").open("wb") as file:
        file.truncate(2**31)  # takes no space on the disk
    with pytest.raises(ModelFileError, match=r"large\.tflite has 2147483648 bytes; .*\(2 GB\)"):
        TfliteFile.read(tmp_path / "large.tflite")


@settings(max_examples=300, deadline=None)
@given(changes=st.lists(st.tuples(st.floats(0, 0.9999), st.integers(0, 255)), min_size=1))
def test_a_file_with_broken_bytes_is_read_or_refused_as_damaged(tiny, changes):
    data = bytearray(tiny)
    for place, value in changes:
        data[int(place * len(data))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnknownOperatorWarning)
        with contextlib.suppress(ModelFileError):
            TaskGraph.from_tflite(TfliteFile(bytes(data)))


@pytest.fixture(scope="module")
def tiny():
    """The file made by hand with the constant cut short, so that most bytes are structure."""
    return by_hand(alter=lambda model: setattr(model.buffers[1], "data", np.ones(16, np.uint8)))[0]


# ---------------------------------------------------------------- what stays whole


def with_operator(code, custom=None):
    """The last operator is of another kind."""

    def alter(model):
        model.operatorCodes[2] = coded(code, custom)

    return alter


def with_tensor(**fields):
    """The sum is another tensor."""

    def alter(model):
        for field, value in fields.items():
            setattr(model.subgraphs[0].tensors[2], field, value)

    return alter


def with_places(model):
    """The places of what is not zero in the sum: as many as there are."""
    model.operatorCodes += [coded(BUILTIN.WHERE), coded(BUILTIN.CAST)]
    graph = model.subgraphs[0]
    graph.tensors += [described("is", kind="BOOL"), described("places", [1, 4], kind="INT64")]
    graph.tensors[-1].shapeSignature = [-1, 4]
    graph.operators += [operator(4, [2], [5]), operator(3, [5], [6])]
    graph.outputs = [3, 4, 6]


def with_an_operator_of_the_future(model):
    model.operatorCodes[0].version = 99


def with_second_graph(model):
    model.subgraphs.append(copy.deepcopy(model.subgraphs[0]))


def with_sparse_weights(model):
    """Of the constant's zeros nothing is told: all values are there."""
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder, sparsity.dimMetadata = [0, 1, 2, 3], []
    for size in CONSTANT_SHAPE:
        dense = schema.DimensionMetadataT()
        dense.format, dense.denseSize = schema.DimensionType.DENSE, size
        sparsity.dimMetadata.append(dense)
    model.subgraphs[0].tensors[1].sparsity = sparsity


def with_open_batch_and_height(model):
    for tensor in model.subgraphs[0].tensors:
        tensor.shapeSignature = [-1, *CONSTANT_SHAPE[1:]]
    model.subgraphs[0].tensors[2].shapeSignature = [-1, -1, *CONSTANT_SHAPE[2:]]


def with_wrong_order(model):
    model.subgraphs[0].operators.reverse()


def with_two_writers(model):
    model.subgraphs[0].operators[2].outputs = [3]


def with_operators_that_wait_for_each_other(model):
    model.subgraphs[0].operators[0].inputs = [4, 1]


def with_an_operator_that_writes_nothing(model):
    silent = copy.deepcopy(model.subgraphs[0].operators[0])
    silent.outputs = []
    model.subgraphs[0].operators.append(silent)


def with_no_use_of_the_image(model):
    model.subgraphs[0].operators[0].inputs = [1, 1]


BUILTIN = schema.BuiltinOperator


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (with_operator(BUILTIN.CALL_ONCE), "the operator CALL_ONCE keeps a resource"),
        (with_operator(BUILTIN.READ_VARIABLE), "the operator READ_VARIABLE keeps a resource"),
        (with_operator(BUILTIN.RANDOM_UNIFORM), "the operator RANDOM_UNIFORM draws random"),
        (with_places, "the size of the tensor 'places' is known only when it runs"),
        (with_an_operator_of_the_future, "this machine's interpreter refuses it: Didn't find op"),
        (
            with_operator(BUILTIN.CUSTOM, b"Detect"),
            "this machine's interpreter refuses it: it has not",
        ),
        (with_operator(9999), "the operator with the code 9999 is not known"),
        (with_tensor(isVariable=True), "the tensor 'sum' is a variable of several operators"),
        (with_tensor(type=schema.TensorType.STRING), "the tensor 'sum' has the type string"),
        (with_wrong_order, "LOGISTIC reads the tensor 'sum' before it is written"),
        (with_operators_that_wait_for_each_other, "ADD reads the tensor 'squashed' before it is"),
        (with_two_writers, "the tensor 'product' is written twice"),
        (with_an_operator_that_writes_nothing, "ADD writes no tensor"),
        (with_no_use_of_the_image, "no operator depends on its inputs"),
    ],
)
@pytest.mark.filterwarnings("ignore::keras_concurrent.errors.UnknownOperatorWarning")
def test_what_cannot_be_cut_is_one_task_and_its_piece_the_file(alter, reason):
    file = TfliteFile(by_hand(alter=alter)[0], "photo.tflite")
    assert file.whole_because.startswith(reason)
    graph = TaskGraph.from_tflite(file)
    (task,) = graph.tasks
    assert (task.name, task.inputs, task.outputs) == ("model", file.inputs, file.outputs)
    assert task.flops == file.flops
    assert task.parameter_bytes == CONSTANT_BYTES
    assert graph.quotient([["model"]]).tasks == graph.tasks
    assert file.cut(task.operators, task.inputs, task.outputs) == file.data
    with pytest.raises(ModelFileError, match=r"photo\.tflite cannot be cut: .*" + reason):
        file.cut([0], ["image"], ["sum"])


def test_a_file_that_can_be_cut_says_so(hand_made):
    assert hand_made[0].whole_because is None


@pytest.mark.parametrize(
    "alter",
    [
        with_second_graph,
        with_sparse_weights,
        with_tensor(shapeSignature=[-1, 16, 16, 64]),
        with_open_batch_and_height,
    ],
)
def test_what_only_looks_as_if_it_stayed_whole_is_cut(alter):
    file = TfliteFile(by_hand(alter=alter)[0])
    assert file.whole_because is None
    assert file.tensors["sum"].shape == CONSTANT_SHAPE
    check_pieces(file, [[task.name] for task in TaskGraph.from_tflite(file).tasks])


@pytest.fixture(scope="module")
def functions():
    """Functions that a converter turns into odd files."""

    class Functions(tf.Module):
        @tf.function(input_signature=[tf.TensorSpec((1, 4))])
        def doubled(self, x):
            (y,) = tf.while_loop(
                lambda y: tf.reduce_sum(y) < 100,
                lambda y: (tf.matmul(y, 2 * tf.eye(4)),),
                [tf.abs(x)],
            )
            return -y

        @tf.function(input_signature=[tf.TensorSpec((1, 4))])
        def several(self, x):
            return {"total": tf.reduce_sum(x), "same": x, "ends": 2 * x, "fixed": tf.range(3)}

        @tf.function(input_signature=[tf.TensorSpec((1, 4))])
        def running(self, x):
            return tf.raw_ops.Bucketize(input=x, boundaries=[0.2, 0.6]) * 2

    return Functions()


def converted(function, module):
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], module
    )
    with quiet():
        return TfliteFile(converter.convert())


def test_a_loop_is_one_task_with_its_subgraphs_and_counts_its_body_once(functions):
    file = converted(functions.doubled, functions)
    assert file.whole_because is None
    before, loop, after = TaskGraph.from_tflite(file).tasks
    assert [before.name, loop.name, after.name] == ["0000_ABS", "0001_WHILE", "0002_NEG"]
    assert loop.flops == 4 + 1 + 2 * 4 * 4  # the sum and its comparison; the matrix product
    assert loop.parameter_bytes >= 4 * 4 * 4
    piece = file.cut(loop.operators, loop.inputs, loop.outputs)
    (answer,) = Segment(piece).run([np.float32([[1, 2, 3, 4]])])
    np.testing.assert_array_equal(answer, np.float32([[16, 32, 48, 64]]))  # 160 is the first > 100
    assert len(file.cut(before.operators, before.inputs, before.outputs)) < 1000  # without the loop
    check_pieces(file, [[before.name], [loop.name], [after.name]])


# ---------------------------------------------------------------- what is the same for every image


def with_half_precision(graph):
    """The constant is unpacked from float16 by an operator, as the converter writes it."""
    graph.tensors[1].buffer = 0
    graph.tensors.append(described("half", buffer=2, kind="FLOAT16"))
    graph.operators.insert(0, operator(3, [5], [1], "DequantizeOptions"))


def with_half_buffer(model):
    half = schema.BufferT()
    values = np.linspace(-1, 1, np.prod(CONSTANT_SHAPE)).astype(np.float16)
    half.data = values.view(np.uint8)
    model.buffers.append(half)
    model.operatorCodes.append(coded(BUILTIN.DEQUANTIZE))


@pytest.fixture(scope="module")
def half():
    return TfliteFile(by_hand(with_half_precision, with_half_buffer)[0])


def test_unpacked_weights_are_in_every_piece_that_reads_them(half):
    graph = TaskGraph.from_tflite(half)
    assert [task.name for task in graph.tasks] == ["0001_ADD", "0002_MUL", "0003_LOGISTIC"]
    assert sorted(graph.tensor_bytes) == ["image", "product", "squashed", "sum"]
    assert [task.parameter_bytes for task in graph.tasks] == [CONSTANT_BYTES / 2] * 2 + [0]
    assert [operator.constant for operator in half.operators] == [True, False, False, False]
    assert half.flops == graph.flops == 3 * 16 * 16 * 64
    pieces = [half.cut(task.operators, task.inputs, task.outputs) for task in graph.tasks]
    assert [round(len(piece) / (CONSTANT_BYTES / 2), 1) for piece in pieces] == [1, 1, 0]
    check_pieces(half, [[task.name] for task in graph.tasks])


def test_a_constant_and_what_follows_from_constants_can_be_outputs():
    def give_all(graph):
        graph.tensors.append(described("fixed"))
        graph.operators.insert(1, operator(2, [1], [5]))  # logistic(constant)
        graph.outputs = [5, 4, 1, 0, 3]

    file = TfliteFile(by_hand(give_all)[0])
    assert file.outputs == ("fixed", "squashed", "constant", "image", "product")
    graph = TaskGraph.from_tflite(file)
    assert graph.outputs == file.outputs
    assert graph.tasks[-1].outputs == ("squashed", "fixed", "constant")
    for groups in ([["0000_ADD", "0003_LOGISTIC"], ["0002_MUL"]], [[n] for n in graph.by_name]):
        check_pieces(file, groups)


def test_one_tensor_can_be_two_outputs():
    file = TfliteFile(by_hand(lambda graph: setattr(graph, "outputs", [3, 2, 3]))[0])
    assert file.outputs == ("product", "sum", "product")
    check_pieces(file, [[task.name] for task in TaskGraph.from_tflite(file).tasks])


def test_several_outputs_of_a_function_keep_their_signature(functions):
    file = converted(functions.several, functions)
    signature = file.signatures["serving_default"]
    assert tuple(signature.inputs) == ("x",)
    assert sorted(signature.outputs) == ["ends", "fixed", "same", "total"]
    image = np.float32([[1, 2, 3, 4]])
    values = {signature.inputs["x"]: image}
    graph = TaskGraph.from_tflite(file)
    for task in graph.tasks:
        run(file.cut(task.operators, task.inputs, task.outputs), values)
    given = {name: values[tensor] for name, tensor in signature.outputs.items()}
    assert given["total"] == 10
    np.testing.assert_array_equal(given["ends"], 2 * image)
    np.testing.assert_array_equal(given["same"], image)
    np.testing.assert_array_equal(given["fixed"], [0, 1, 2])


def test_an_open_batch_is_one_and_shapes_do_not_travel():
    image = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(4, 3)(image)
    x = keras.layers.Dense(16)(keras.layers.Flatten()(x))
    x = keras.layers.Conv2DTranspose(3, 3, strides=2)(keras.layers.Reshape((2, 2, 4))(x))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(image, x))
    with quiet():
        content = converter.convert()
    before = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0]
    file = TfliteFile(content)
    assert [operator.kind for operator in file.operators] == [
        "CONV_2D", "RESHAPE", "FULLY_CONNECTED", "RESHAPE", "TRANSPOSE_CONV",
    ]  # fmt: skip
    assert len(before.operators) == 5 + 3 * 3  # SHAPE, STRIDED_SLICE and PACK for three of them
    assert tuple(file.signatures["serving_default"].inputs) == (image.name,)
    images = list(image_for(file).values())
    # Not bit for bit: what follows an open shape runs with other kernels.
    np.testing.assert_allclose(
        Segment(file.data).run(images)[0], Segment(content).run(images)[0], rtol=1e-4, atol=1e-6
    )
    graph = TaskGraph.from_tflite(file)
    assert {file.tensors[name].dtype for name in graph.tensor_bytes} == {"float32"}
    assert {file.tensors[name].shape[0] for name in graph.tensor_bytes} == {1}
    check_pieces(file, [[task.name] for task in graph.tasks])


@pytest.mark.parametrize("version", [1, 99])
def test_shapes_are_computed_once_or_the_file_stays_whole(version):
    def measure(graph):
        graph.tensors += [described("shape", [4], kind="INT32"), described("less", [4], 0, "INT32")]
        graph.operators += [operator(3, [2], [5], "ShapeOptions"), operator(4, [5], [6])]
        graph.operators[-2].builtinOptions.outType = schema.TensorType.INT32
        graph.outputs = [3, 6]

    def code(model):
        model.operatorCodes += [coded(BUILTIN.SHAPE), coded(BUILTIN.NEG)]
        model.operatorCodes[-1].version = version

    content = by_hand(measure, code)[0]
    if version == 99:
        file = TfliteFile(content, "photo.tflite")
        assert "Didn't find op for builtin opcode 'NEG' version '99'" in file.whole_because
        return
    file = TfliteFile(content)
    assert [operator.kind for operator in file.operators] == ["ADD", "MUL", "LOGISTIC"]
    _, less = Segment(file.data).run(list(image_for(file).values()))
    np.testing.assert_array_equal(less, [-1, -16, -16, -64])
    check_pieces(file, [[task.name] for task in TaskGraph.from_tflite(file).tasks])


# ---------------------------------------------------------------- unknown operators


def test_an_operator_without_a_rule_is_named_once_and_estimated(functions):
    file = converted(functions.running, functions)
    with pytest.warns(UnknownOperatorWarning, match="operators of unknown cost, BUCKETIZE: "):
        graph = TaskGraph.from_tflite(file)
    assert TaskGraph.from_tflite(file) == graph  # and no second warning, which would be an error
    assert [task.flops for task in graph.tasks] == [4, 4]
    check_pieces(file, [[task.name] for task in graph.tasks])
