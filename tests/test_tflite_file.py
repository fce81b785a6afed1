import random
import warnings

import flatbuffers
import keras
import networkx as nx
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_concurrent.convert import to_tflite
from keras_concurrent.errors import ModelFileError
from keras_concurrent.interpreter import Segment, quiet
from keras_concurrent.taskgraph import TaskGraph
from keras_concurrent.tflite_file import TfliteFile


def image_for(file, seed=0):
    rng = np.random.default_rng(seed)
    images = []
    for name in file.inputs:
        info = file.tensors[name]
        if np.issubdtype(info.dtype, np.floating):
            images.append(rng.random(info.shape).astype(info.dtype))
        else:
            limits = np.iinfo(info.dtype)
            images.append(rng.integers(limits.min, limits.max, info.shape, info.dtype, True))
    return dict(zip(file.inputs, images, strict=True))


def run(content, values):
    """Run a piece on the tensors that it names, and add what it gives."""
    segment = Segment(content)
    results = segment.run([values[name] for name in segment.input_names])
    values.update(zip(segment.output_names, results, strict=True))


def check_pieces(file, groups, seed=0):
    """Cut the groups, run the pieces one after another, compare with the whole."""
    merged = TaskGraph.from_tflite(file).merged(groups)
    values = image_for(file, seed)
    answers = Segment(file.data).run([values[name] for name in file.inputs])
    # An untrained network's answer hardly depends on its image: look at what crosses, too.
    crossing = sorted({t for task in merged.tasks for t in task.outputs} - set(file.outputs))
    watched = dict(values)
    run(file.cut(range(len(file.operators)), file.inputs, crossing), watched)
    for task in merged.tasks:
        piece = file.cut(task.operators, task.inputs, task.outputs)
        assert TfliteFile(piece).inputs == task.inputs
        assert TfliteFile(piece).outputs == task.outputs
        run(piece, values)
    for name, answer in zip(file.outputs, answers, strict=True):
        np.testing.assert_array_equal(values[name], answer)
    for name in crossing:
        np.testing.assert_array_equal(values[name], watched[name])
    assert sum(len(task.operators) for task in merged.tasks) == len(file.operators)


def random_order(graph, rng):
    """A random topological order of the tasks."""
    waiting = {name: len(before) for name, before in graph.predecessors.items()}
    ready = [name for name, count in waiting.items() if not count]
    order = []
    while ready:
        order.append(ready.pop(rng.randrange(len(ready))))
        for later in graph.successors[order[-1]]:
            waiting[later] -= 1
            if not waiting[later]:
                ready.append(later)
    return order


def random_groups(graph, rng, pieces):
    order = random_order(graph, rng)
    bounds = sorted(rng.sample(range(1, len(order)), min(pieces, len(order)) - 1))
    return [order[a:b] for a, b in zip([0, *bounds], [*bounds, len(order)], strict=True)]


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
            graph.merged(groups)


def test_every_operator_alone_answers_bit_for_bit_as_the_whole(small_file):
    graph = TaskGraph.from_tflite(small_file)
    check_pieces(small_file, [[task.name] for task in graph.tasks])


@pytest.fixture(scope="module")
def mobilenet_v3():
    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNetV3Small((96, 96, 3), weights=None, classes=10)
    return TfliteFile(to_tflite(model))


@pytest.fixture(scope="module")
def int8_mobilenet():
    import tensorflow as tf

    keras.utils.set_random_seed(0)
    model = keras.applications.MobileNet((96, 96, 3), alpha=0.25, weights=None, classes=10)

    @tf.function(input_signature=[tf.TensorSpec((1, 96, 96, 3), tf.float32)])
    def infer(image):
        return model(image)

    def images():
        rng = np.random.default_rng(0)
        for _ in range(4):
            yield [rng.random((1, 96, 96, 3), dtype=np.float32)]

    with quiet(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Statistics for quantized inputs were expected")
        converter = tf.lite.TFLiteConverter.from_concrete_functions([infer.get_concrete_function()])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = images
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return TfliteFile(converter.convert())


@pytest.mark.parametrize(("seed", "pieces"), [(0, 3), (1, 8), (2, 25)])
def test_mobilenet_v3_in_pieces(mobilenet_v3, seed, pieces):
    graph = TaskGraph.from_tflite(mobilenet_v3)
    check_pieces(mobilenet_v3, random_groups(graph, random.Random(seed), pieces), seed)


@pytest.mark.parametrize(("seed", "pieces"), [(0, 2), (1, 7), (2, 20)])
def test_a_full_int8_network_in_pieces(int8_mobilenet, seed, pieces):
    file = int8_mobilenet
    assert {file.tensors[name].dtype for name in (*file.inputs, *file.outputs)} == {"int8"}
    graph = TaskGraph.from_tflite(file)
    check_pieces(file, random_groups(graph, random.Random(seed), pieces), seed)


# ---------------------------------------------------------------- a file made by hand

CONSTANT_SHAPE = (1, 16, 16, 64)
CONSTANT_BYTES = 16 * 16 * 64 * 4


def by_hand(mutate=lambda graph: None):
    """image + constant -> sum; sum * constant -> product; logistic(sum) -> squashed."""
    builtin = schema.BuiltinOperator
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs = 3, [graph]
    model.operatorCodes = []
    for code in (builtin.ADD, builtin.MUL, builtin.LOGISTIC):
        kind = schema.OperatorCodeT()
        kind.builtinCode = kind.deprecatedBuiltinCode = code
        kind.version = 1
        model.operatorCodes.append(kind)
    constant = schema.BufferT()
    values = np.linspace(-1, 1, np.prod(CONSTANT_SHAPE), dtype=np.float32)
    constant.data = values.view(np.uint8)
    model.buffers = [schema.BufferT(), constant]
    graph.tensors = []
    for name in ("image", "constant", "sum", "product", "squashed"):
        tensor = schema.TensorT()
        tensor.name, tensor.shape = name, list(CONSTANT_SHAPE)
        tensor.buffer = 1 if name == "constant" else 0
        graph.tensors.append(tensor)
    graph.operators = []
    for code, inputs, output in ((0, [0, 1], 2), (1, [2, 1], 3), (2, [2], 4)):
        operator = schema.OperatorT()
        operator.opcodeIndex, operator.inputs, operator.outputs = code, inputs, [output]
        if code < 2:
            options = schema.AddOptionsT() if code == 0 else schema.MulOptionsT()
            operator.builtinOptions = options
            operator.builtinOptionsType = (
                schema.BuiltinOptions.AddOptions if code == 0 else schema.BuiltinOptions.MulOptions
            )
        graph.operators.append(operator)
    graph.inputs, graph.outputs = [0], [3, 4]
    mutate(graph)
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output()), values.reshape(CONSTANT_SHAPE)


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


def test_a_variable_cannot_be_cut():
    def variable(graph):
        graph.tensors[2].isVariable = True

    with pytest.raises(ModelFileError, match="cannot be cut: 'sum' is a variable"):
        TfliteFile(by_hand(variable)[0])


def test_a_tensor_type_unknown_to_numpy_cannot_be_cut():
    def text(graph):
        graph.tensors[2].type = schema.TensorType.STRING

    with pytest.raises(ModelFileError, match="cannot be cut: 'sum' has tensor type 5"):
        TfliteFile(by_hand(text)[0])
