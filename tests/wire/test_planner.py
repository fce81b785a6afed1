import numpy as np
import pytest
from pieces import check_pieces, image_for
from small_files import converted, on_boards, operators
from wires import SLOW, check_answers, cluster_of

from keras_concurrent.planning.effort import Effort
from keras_concurrent.planning.segments import one_board, plan_segments
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.wire.encoding import crossing
from keras_concurrent.wire.format import SIGMOID
from keras_concurrent.wire.planner import WirePlanner


@pytest.mark.parametrize(
    ("sent_as", "tolerance", "dtypes"),
    [
        ("float32", 1e-5, {"float32"}),
        ("float16", 1e-3, {"float16"}),
        ("int8", 1e-2, {"int8", "float32"}),
        ("auto", 1e-2, {"int8", "float16"}),
    ],
)
def test_every_way_to_send_end_to_end(small_file, sent_as, tolerance, dtypes):
    planned = WirePlanner(small_file, SLOW, sent_as=sent_as, effort=Effort(5000)).plan()
    assert len(planned.plan.boards) > 1
    assert {each.dtype for each in planned.formats.values()} <= dtypes
    assert set(planned.formats) <= set(crossing(planned.summed, planned.homes))
    check_answers(planned, small_file, tolerance)


def test_calibrated_int8_end_to_end(small_file):
    images = [image_for(small_file, seed) for seed in range(8)]
    planner = WirePlanner(small_file, SLOW, sent_as="int8", images=images, effort=Effort(2000))
    rng = np.random.default_rng(0)
    homes = on_boards(small_file, lambda o: f"b{rng.integers(3)}")
    planned = planner.encoded(small_file, homes, planner.formats(small_file, homes))
    assert set(planned.formats) == set(crossing(small_file, homes))
    assert {each.dtype for each in planned.formats.values()} == {"int8"}
    check_answers(planned, small_file, 1e-2)
    kinds = {name: o.kind for o in planned.summed.operators for name in o.outputs}
    for name, wire_format in planned.formats.items():
        assert (wire_format == SIGMOID) == (kinds[name] == "LOGISTIC"), name


def test_lighter_tensors_make_better_plans(small_file):
    latency_s = {
        planner.sent_as: planner.plan().plan.latency_s
        for planner in (
            WirePlanner(small_file, SLOW, sent_as=sent_as, effort=Effort(20_000))
            for sent_as in ("float32", "auto")
        )
    }
    plain = plan_segments(TaskGraph.from_tflite(small_file), SLOW, effort=Effort(20_000))
    assert latency_s["auto"] <= latency_s["float32"] <= plain.latency_s
    assert latency_s["auto"] < plain.latency_s


def test_one_board_gets_the_file_as_it_is(small_file):
    far = cluster_of(3, 10.0, 1.0, latency_ms=50)
    planned = WirePlanner(small_file, far).plan()
    assert planned.file is small_file
    assert planned.formats == {}
    alone = one_board(TaskGraph.from_tflite(small_file), far)
    assert planned.plan.latency_s == alone.latency_s


def test_pins_are_kept(small_file):
    convolutions = operators(small_file, "CONV_2D")
    pins = {convolutions[0].outputs[0]: "b1", convolutions[-1].outputs[0]: "b2"}
    planned = WirePlanner(small_file, SLOW, pins=pins, effort=Effort(2000)).plan()
    writer = {name: o.index for o in planned.file.operators for name in o.outputs}
    board = {
        o: planned.plan.assignment[task.name]
        for task in planned.plan.graph.tasks
        for o in task.operators
    }
    assert {name: board[writer[name]] for name in pins} == pins


def test_a_pin_is_kept_where_one_board_is_best(small_file):
    far = cluster_of(3, 10.0, 1.0, latency_ms=50)
    name = operators(small_file, "CONV_2D")[0].outputs[0]
    planned = WirePlanner(small_file, far, pins={name: "b2"}, effort=Effort(500)).plan()
    assert planned.plan.boards == ("b2",)
    assert planned.file is small_file
    with pytest.raises(ValueError, match=r"pins must name tensors that .* writes, got 'nothing'"):
        WirePlanner(small_file, far, pins={"nothing": "b2"})


def test_a_way_to_send_that_is_none(small_file):
    with pytest.raises(
        ValueError, match="sent_as must be one of auto, float32, float16, int8, got 'int4'"
    ):
        WirePlanner(small_file, SLOW, sent_as="int4")


def test_the_pool_of_a_scaling_block_sits_on_the_sender():
    """Two stems on pinned boards; one is pooled to a quarter before the other joins it.

    The large tensor has 8 x 8 x 16 values, 4,096 bytes; pooled, 1,024; the wider one 2,048.
    """
    import tensorflow as tf

    rng = np.random.default_rng(0)
    stems = [rng.normal(0, 0.3, (3, 3, 3, n)).astype("f4") for n in (16, 32)]
    widen = rng.normal(0, 0.3, (1, 1, 16, 32)).astype("f4")

    def function(x, y):
        large = tf.nn.conv2d(x, stems[0], 1, "SAME")
        small = tf.nn.conv2d(y, stems[1], 1, "SAME")
        scaled = tf.nn.conv2d(tf.nn.max_pool2d(large, 2, 2, "SAME"), widen, 1, "SAME")
        return tf.sigmoid(scaled) * 0.5 + tf.sigmoid(small) * 0.25

    file = converted(function, (1, 8, 8, 3), (1, 4, 4, 3))
    stem, _, other = (o.outputs[0] for o in operators(file, "CONV_2D"))
    assert {file.tensors[n].bytes for n in (stem, other)} == {4096, 2048}
    graph = TaskGraph.from_tflite(file)
    tasks = {name: t.name for t in graph.tasks for name in t.outputs}
    pins = {tasks[stem]: "b0", tasks[other]: "b1", graph.tasks[-1].name: "b1"}
    plan = plan_segments(graph, cluster_of(2, 1.0, 1.0), pins=pins)
    (message,) = [m for m in plan.messages if (m.sender, m.receiver) == ("b0", "b1")]
    (pool,) = operators(file, "MAX_POOL_2D")
    assert (message.tensor, message.bytes) == (pool.outputs[0], 1024)
    # One byte a value: 8 values of a pixel travel in 8 bytes; 16 channels are still fewer than 32.
    names = {name: plan.assignment[t.name] for t in plan.graph.tasks for name in t.outputs}
    assert names[pool.outputs[0]] == "b0"
    check_pieces(file, [[t.name for t in graph.tasks if set(t.operators) <= set(s.operators)]
                        for s in plan.graph.tasks])  # fmt: skip


def test_the_same_plan_twice(small_file):
    plans = [WirePlanner(small_file, SLOW, effort=Effort(2000, seed=3)).plan() for _ in range(2)]
    assert plans[0].file.data == plans[1].file.data
    assert plans[0].plan == plans[1].plan
