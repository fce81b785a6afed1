"""What becomes of operators, redone by hand."""

import numpy as np
import pytest
from drawn_networks import VALID, Network
from pieces import check_strips as check
from pieces import image_for

from keras_concurrent.bands import Band
from keras_concurrent.interpreter import Segment
from keras_concurrent.planning.taskgraph import TaskGraph
from keras_concurrent.tflite.strips.rewriting import strips
from keras_concurrent.tflite.strips.work import Span, spans


def kinds(split):
    return [operator.kind for operator in split.file.operators]


def rows(split, kind):
    """Rows of what each operator of a kind writes, by its strip."""
    tensors = split.file.tensors
    return {
        split.strip_of[o.index]: tensors[o.outputs[0]].shape[1]
        for o in split.file.operators
        if o.kind == kind
    }


def two_convolutions(size=8):
    network = Network()
    x = network.convolution(network.image(size, 6, 3), 4)
    network.convolution(x, 4)
    return network.file()


# ---------------------------------------------------------------- shares


@pytest.mark.parametrize(
    ("size", "shares", "unit", "ends"),
    [
        (10, (1, 1, 2), 1, (3, 5, 10)),  # 2.5 and 5 of 10, rounded half up
        (7, (1, 1, 1, 1), 1, (2, 4, 5, 7)),  # 1.75, 3.5, 5.25
        (10, (3, 0, 1), 1, (8, None, 10)),
        (4, (0, 1, 0), 1, (None, 4, None)),
        (2, (1, 1, 1, 1), 1, (1, None, 2, None)),  # 0.5 and 1 end at 1, 1.5 and 2 at 2
        (40, (1, 1), 8, (24, 40)),  # 2.5 of 5 times eight
        (20, (1, 3), 8, (8, 20)),  # 0.5 of 2 times eight, and what is left over
    ],
)
def test_an_axis_is_cut_by_shares(size, shares, unit, ends):
    found = spans(size, shares, 1, unit)
    assert tuple(None if span is None else span.end for span in found) == ends
    there = [span for span in found if span is not None]
    assert [span.first for span in there] == [0, *(span.end for span in there[:-1])]
    assert there[-1].end == size


def test_an_empty_span_is_refused():
    with pytest.raises(ValueError, match=r"a span must hold something, got 3\.\.3"):
        Span(1, 3, 3)


@pytest.mark.parametrize(
    ("shares", "more", "message"),
    [
        ((), {}, "shares must be at least 0 and one above it, got \\[\\]"),
        ((0, 0), {}, "one above it, got \\[0, 0\\]"),
        ((1, -1), {}, "one above it, got \\[1, -1\\]"),
        ((1, 1), {"least_rows": 1}, "least_rows must be at least 2, got 1"),
    ],
)
def test_what_cannot_be_asked_for(shares, more, message):
    with pytest.raises(ValueError, match=message):
        strips(two_convolutions(), shares, **more)


# ---------------------------------------------------------------- rows


def test_strips_take_their_rows_of_the_image_and_exchange_one_row_each():
    """Of 8 rows each strip makes 4; a 3x3 window reaches one row further."""
    file = two_convolutions()
    split = strips(file, (1, 1))
    assert list(split.bands.values()) == [Band("t0", 0, 5), Band("t0", 3, 8)]
    assert rows(split, "CONV_2D") == {0: 4, 1: 4}
    # Each strip pads its image's edge and the columns, twice; each sends one row before either goes
    # on, and joins one.
    one = ["PAD", "CONV_2D"]
    assert kinds(split) == [*one, *one, "SLICE", "SLICE", "CONCATENATION", *one, "CONCATENATION",
                            *one, "CONCATENATION"]  # fmt: skip
    assert [rows(split, kind) for kind in ("PAD", "SLICE")] == [{0: 6, 1: 6}, {0: 1, 1: 1}]
    graph = TaskGraph.from_tflite(split.file)
    assert graph.flops == TaskGraph.from_tflite(file).flops
    check(file, split)


def test_rows_are_computed_twice_where_that_was_asked_for():
    """Each strip's first convolution makes 5 rows instead of 4, and nothing is exchanged."""
    file = two_convolutions()
    split = strips(file, (1, 1), exchange_after=())
    assert list(split.bands.values()) == [Band("t0", 0, 6), Band("t0", 2, 8)]
    assert "SLICE" not in kinds(split)
    first = TaskGraph.from_tflite(file).tasks[0].flops
    extra = TaskGraph.from_tflite(split.file).flops - TaskGraph.from_tflite(file).flops
    assert extra == first * 2 / 8
    check(file, split)


def test_few_channels_are_sent_where_many_are_made_of_them():
    """A row of 4 channels travels, of which each strip makes its neighbour's row of 16 anew."""
    network = Network()
    x = network.convolution(network.image(8, 6, 3), 4)
    network.convolution(network.convolution(x, 16, (1, 1)), 4)
    file = network.file()
    split = strips(file, (1, 1))
    tensors = split.file.tensors
    sent = {tensors[o.outputs[0]].shape for o in split.file.operators if o.kind == "SLICE"}
    assert sent == {(1, 1, 6, 4)}
    made = [tensors[o.outputs[0]].shape for o in split.file.operators if o.kind == "CONV_2D"]
    assert [shape[1:] for shape in made if shape[3] == 16] == [(5, 6, 16)] * 2
    check(file, split)


def test_the_columns_alone_are_padded_inside_the_image():
    file = two_convolutions(9)
    split = strips(file, (1, 1, 1))
    assert rows(split, "PAD") == {0: 5, 1: 5, 2: 5}  # 3 rows and their two neighbours' or edges
    check(file, split)


def test_strips_follow_their_shares_down_to_none():
    split = strips(two_convolutions(), (1, 0, 3))
    assert rows(split, "CONV_2D") == {0: 2, 2: 6}
    assert {each.strips for each in split.split} == {2}
    check(two_convolutions(), split)


def test_a_pool_that_pads_computes_what_its_padding_spoils_and_cuts_it_off():
    """3x3, stride 1: a strip of 4 rows reads 5 and makes 5 as the whole would, one wrong."""
    network = Network()
    network.pool(network.image(8, 6, 3), "AVERAGE")
    split = strips(network.file(), (1, 1))
    assert rows(split, "AVERAGE_POOL_2D") == {0: 5, 1: 5}
    assert rows(split, "SLICE") == {0: 4, 1: 4}


def test_an_image_of_few_rows_leaves_strips_out():
    network = Network()
    network.convolution(network.image(3, 6, 3), 4)
    file = network.file()
    split = strips(file, (1,) * 8)
    (decision,) = split.decisions
    assert (decision.axis, decision.strips) == ("rows", 3)
    check(file, split)


def test_weights_are_in_the_file_once():
    file = two_convolutions()
    constants = {t.buffer for t in strips(file, (1,) * 4).file._graph.tensors if t.buffer}
    of_strips = strips(file, (1,) * 4).file.parameter_bytes
    # Beside the weights: four paddings, and of each slice where it begins and how large it is.
    assert file.parameter_bytes < of_strips < file.parameter_bytes + 32 * (len(constants) - 4) + 1


# ---------------------------------------------------------------- channels


def wide():
    network = Network()
    x = network.convolution(network.image(6, 6, 3), 32, padding=VALID)
    network.dense(network.mean(network.convolution(x, 32, depthwise=True), keep=False), 16)
    return network.file()


def test_filters_go_to_strips_and_what_follows_stays_there():
    file = wide()
    split = strips(file, (1, 1), least_rows=100, least_flops=0)
    assert [(d.kind, d.axis, d.strips) for d in split.decisions] == [
        ("CONV_2D", "channels", 2),
        ("DEPTHWISE_CONV_2D", "channels", 2),
        ("MEAN", "channels", 2),
        ("FULLY_CONNECTED", "channels", 2),
    ]
    # The means are exchanged, and the answer is put together.
    assert kinds(split)[-5:] == ["CONCATENATION", "FULLY_CONNECTED"] * 2 + ["CONCATENATION"]
    assert kinds(split).count("CONCATENATION") == 3
    assert not split.bands
    check(file, split)


def test_a_boards_part_of_a_layer_holds_its_own_filters():
    file = wide()
    split = strips(file, (1, 3), least_rows=100, least_flops=0).file
    held = [o.parameter_bytes for o in split.operators if o.kind == "CONV_2D"]
    (all_of_it,) = (o.parameter_bytes for o in file.operators if o.kind == "CONV_2D")
    assert held == [all_of_it / 4, all_of_it * 3 / 4]


def test_a_mean_of_strips_reads_its_channels_of_every_row():
    network = Network()
    network.mean(network.convolution(network.image(8, 6, 3), 16))
    file = network.file()
    assert strips(file, (1, 1)).reasons == {"MEAN: its output has fewer rows than 2": 1}
    split = strips(file, (1, 1), least_flops=0)
    assert [d.axis for d in split.decisions] == ["rows", "channels"]
    sent = {
        split.file.tensors[o.outputs[0]].shape for o in split.file.operators if o.kind == "SLICE"
    }
    assert sent == {(1, 4, 6, 8)}
    check(file, split)


def test_the_channels_of_an_input_without_rows_are_no_bands():
    network = Network()
    network.dense(network.alone("RELU", network.dense(network.image(32), 32)), 16)
    file = network.file()
    split = strips(file, (1, 1, 2), least_flops=0)
    assert [d.axis for d in split.decisions] == ["channels"] * 3
    assert not split.bands
    assert file.inputs == split.file.inputs
    check(file, split)


# ---------------------------------------------------------------- what stays whole


def test_rows_of_a_dynamic_range_model_stay_whole_and_its_filters_do_not():
    network = Network("dynamic")
    network.convolution(network.image(8, 8, 4), 32)
    file = network.file()
    (whole,) = strips(file, (1, 1)).decisions
    assert whole.axis is None
    assert whole.reason.startswith("its values are float32 and its weights int8")
    split = strips(file, (1, 1), least_flops=0)
    assert [d.axis for d in split.decisions] == ["channels"]
    check(file, split)


def test_strips_are_put_together_before_what_is_not_understood():
    network = Network()
    x = network.convolution(network.image(8, 8, 4), 4)
    x = network.operator("REVERSE_V2", [x, network.integers(1)], network.shape(x))
    network.convolution(x, 4)
    file = network.file()
    split = strips(file, (1, 1))
    assert split.reasons == {"REVERSE_V2: strips of it are not known to be exact": 1}
    after = kinds(split)[kinds(split).index("REVERSE_V2") - 1 :]
    assert after[:4] == ["CONCATENATION", "REVERSE_V2", "SLICE", "PAD"]
    assert split.file.operators[kinds(split).index("REVERSE_V2")].index not in split.strip_of
    check(file, split)


def test_a_model_that_stays_whole_comes_back_as_it_is():
    network = Network()
    x = network.image(8, 8, 4)
    network.operator("WHERE", [x], (1, 4))
    file = network.file()
    assert file.whole_because
    assert strips(file, (1, 1)).file is file


def test_one_strip_is_the_model_itself():
    file = two_convolutions()
    split = strips(file, (0, 1))
    assert kinds(split) == ["CONV_2D", "CONV_2D"]
    assert split.file.inputs == file.inputs


def test_a_transposed_convolution_cuts_off_what_its_neighbours_would_add_to():
    """3x3 of stride 2: of 8 rows the second 4 need rows 1 to 3 of the input's 4, which make 6."""
    network = Network()
    network.transposed(network.image(4, 4, 3), 8)
    file = network.file()
    split = strips(file, (1, 1))
    assert list(split.bands.values()) == [Band("t0", 0, 2), Band("t0", 1, 4)]
    assert rows(split, "TRANSPOSE_CONV") == {0: 4, 1: 6}
    assert rows(split, "SLICE") == {1: 4}
    check(file, split)


@pytest.mark.parametrize("scale", [3, 5])
def test_resizes_by_odd_scales_stay_whole(scale):
    network = Network()
    network.resized(network.image(8, 8, 4), scale=scale)
    assert strips(network.file(), (1, 1)).reasons == {
        "RESIZE_BILINEAR: it makes other than 2 or 4 times as many rows": 1
    }


# ---------------------------------------------------------------- pieces of a strip's own


def test_strips_cut_for_two_boards_answer_as_the_whole():
    file = wide()
    split = strips(file, (1, 1), least_flops=0)
    graph = TaskGraph.from_tflite(split.file)
    values = dict(zip(split.file.inputs, split.banded(image_for(file)), strict=True))
    for task in graph.tasks:
        segment = Segment(split.file.cut(task.operators, task.inputs, task.outputs))
        results = segment.run([values[name] for name in segment.input_names])
        values.update(zip(segment.output_names, results, strict=True))
    (answer,) = Segment(file.data).run(list(image_for(file).values()))
    np.testing.assert_array_equal(values[file.outputs[0]], answer)


def test_windows_smaller_than_their_stride_stay_whole_where_runtimes_differ():
    """tflite-runtime answers otherwise than ai-edge-litert: strips would have to choose."""

    def axis(kernel, stride):
        network = Network()
        network.convolution(network.image(12, 8, 4), 8, kernel, stride)
        return strips(network.file(), (1, 1)).decisions[0].axis

    assert [axis((1, 1), 2), axis((3, 3), 3)] == ["rows", "rows"]
    assert [axis((1, 3), 2), axis((2, 1), 2), axis((1, 1), 3)] == [None, None, None]
