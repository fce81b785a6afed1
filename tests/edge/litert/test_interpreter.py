"""The boards behind LiteRT's interface, beside LiteRT itself on the same file."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from in_process import running, slow_boards
from small_files import colours_file, sums_file

from keras_concurrent.edge import Interpreter
from keras_concurrent.edge.bundle import MODEL
from keras_concurrent.edge.watch.bench import random_images
from keras_concurrent.errors import BundleError, ClusterError
from keras_concurrent.export.assemble import export_bundle

litert = pytest.importorskip("ai_edge_litert.interpreter")


def both(client, bundle):
    """Ours, and LiteRT's with the uncut model."""
    return (
        Interpreter(model_path=bundle.path, num_threads=4, client=client),
        litert.Interpreter(model_path=str(bundle.path / MODEL), num_threads=1),
    )


def recognised(interpreter, image):
    """What every example of LiteRT does."""
    interpreter.allocate_tensors()
    (given,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    interpreter.set_tensor(given["index"], image)
    interpreter.invoke()
    return interpreter.get_tensor(out["index"])


def test_it_answers_as_litert_does(bundle):
    with running(bundle) as (client, _, _):
        ours, theirs = both(client, bundle)
        for image in random_images(bundle, 3):
            np.testing.assert_array_equal(recognised(ours, image), recognised(theirs, image))


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8"])
def test_details_are_litert_s_but_for_names_and_indices(tmp_path, dtype):
    bundle = export_bundle(colours_file(dtype), slow_boards(3), tmp_path / "bundle")
    with running(bundle) as (client, _, _):
        ours, theirs = both(client, bundle)
        for kind in ("get_input_details", "get_output_details"):
            (mine,), (other,) = getattr(ours, kind)(), getattr(theirs, kind)()
            assert mine.keys() == other.keys()
            assert mine["dtype"] is other["dtype"]
            for key in ("shape", "shape_signature"):
                assert mine[key].dtype == other[key].dtype
                assert mine[key].tolist() == other[key].tolist()
            assert mine["quantization"] == pytest.approx(other["quantization"])
            for key, value in mine["quantization_parameters"].items():
                np.testing.assert_allclose(value, other["quantization_parameters"][key])


def test_several_outputs_keep_the_order_of_the_file(tmp_path):
    file = sums_file(3, ((0, 1), (1, 2), (0, 2)))
    bundle = export_bundle(file, slow_boards(3), tmp_path / "bundle")
    with running(bundle) as (client, _, _):
        ours, theirs = both(client, bundle)
        theirs.allocate_tensors()
        rng = np.random.default_rng(0)
        by_name = {each["name"]: each["index"] for each in theirs.get_input_details()}
        for mine, name in zip(ours.get_input_details(), file.inputs, strict=True):
            value = rng.standard_normal((1, 4)).astype(np.float32)
            ours.set_tensor(mine["index"], value)
            (index,) = (i for n, i in by_name.items() if name in n)
            theirs.set_tensor(index, value)
        ours.invoke()
        theirs.invoke()
        for mine, other in zip(ours.get_output_details(), theirs.get_output_details(), strict=True):
            np.testing.assert_array_equal(
                ours.get_tensor(mine["index"]), theirs.get_tensor(other["index"])
            )


def test_a_signature_is_run_by_names(bundle):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, _, _):
        ours, theirs = both(client, bundle)
        expected = recognised(theirs, image)
        names = {"inputs": ["image"], "outputs": ["classes"]}
        assert ours.get_signature_list() == {"serving_default": names}
        mine = ours.get_signature_runner()
        assert mine.get_input_details()["image"]["shape"].tolist() == list(image.shape)
        (answer,) = mine(image=image).items()
        assert answer[0] == "classes"
        np.testing.assert_array_equal(answer[1], expected)
        with pytest.raises(ValueError, match="the inputs must be image, got picture"):
            mine(picture=image)
        with pytest.raises(ValueError, match="signature_key must be 'serving_default', got 'x'"):
            ours.get_signature_runner("x")


def test_an_input_may_be_written_in_place(bundle):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, _, _):
        ours, theirs = both(client, bundle)
        expected = recognised(theirs, image)
        ours.tensor(0)()[...] = image
        ours.invoke()
        np.testing.assert_array_equal(ours.tensor(1)(), expected)


def test_a_value_that_was_given_or_taken_is_a_copy(bundle):
    image = random_images(bundle, 1)[0].copy()
    with running(bundle) as (client, _, _):
        ours, _ = both(client, bundle)
        expected = recognised(ours, image)
        ours.set_tensor(0, image)
        image[...] = 0
        ours.get_tensor(1)[...] = 7
        ours.invoke()
        np.testing.assert_array_equal(ours.get_tensor(1), expected)


def test_what_cannot_be_done_is_refused_with_the_reason(bundle, tmp_path, monkeypatch):
    image = random_images(bundle, 1)[0]
    with running(bundle) as (client, _, _):
        ours, _ = both(client, bundle)
        for call, message in (
            (lambda: ours.resize_tensor_input(0, [1, 8, 8, 3]), "keeps its shape .* export it an"),
            (
                lambda: ours.set_tensor(0, image.astype(np.float64)),
                "must be float32 .* got float6",
            ),
            (lambda: ours.set_tensor(0, image[0]), r"of shape \(1, 16, 16, 3\), got float32 of sh"),
            (lambda: ours.set_tensor(1, image), "an input's index must be 0 to 0, got 1"),
            (lambda: ours.get_tensor(2), "must be 0 to 1, got 2: .* lies on the boards"),
            (lambda: ours.get_tensor(1), "'classes', has no value: invoke first"),
            (ours.invoke, "'image', has no value: set_tensor first"),
            (lambda: Interpreter(), "model_path must be the folder of a bundle"),
            (lambda: Interpreter(model_content=b"x"), "boards run what was deployed"),
            (lambda: Interpreter(bundle.path, experimental_delegates=[1]), "delegates must be emp"),
        ):
            with pytest.raises(ValueError, match=message):
                call()
        ours.resize_tensor_input(0, [1, 16, 16, 3])
    with pytest.raises(BundleError, match="is not a bundle"):
        Interpreter(tmp_path)
    monkeypatch.setenv("KERAS_CONCURRENT_CLUSTER", str(tmp_path / "no.toml"))
    with pytest.raises(ClusterError, match=r"no cluster file at .*no\.toml.* name it in KERAS_CON"):
        Interpreter(bundle.path)


SCRIPT = """
import sys
import numpy as np
from keras_concurrent.edge import Interpreter
interpreter = Interpreter(model_path=sys.argv[1])
interpreter.allocate_tensors()
interpreter.set_tensor(0, np.load("image.npy"))
interpreter.invoke()
np.save("answer.npy", interpreter.get_tensor(1))
"""


def test_a_script_finds_the_cluster_file_beside_the_bundle_and_ends(bundle, tmp_path):
    from keras_concurrent.cluster import Cluster
    from keras_concurrent.edge.bundle import Bundle
    from keras_concurrent.edge.testbed.local_boards import LocalBoards, free_ports

    shutil.copytree(bundle.path, tmp_path / "bundle")
    cluster = Cluster.of("pi3", 3, ports=free_ports(3))
    (tmp_path / "cluster.toml").write_text(cluster.to_toml())
    image = random_images(bundle, 1)[0]
    np.save(tmp_path / "image.npy", image)
    environment = {k: v for k, v in os.environ.items() if k != "KERAS_CONCURRENT_CLUSTER"}
    with LocalBoards(Bundle(tmp_path / "bundle"), cluster) as boards:
        expected = boards.client.infer(image)["classes"]
        boards.client.close()
        subprocess.run(
            [sys.executable, "-c", SCRIPT, "bundle"], cwd=tmp_path, env=environment, check=True,
            timeout=40,
        )  # fmt: skip
    np.testing.assert_array_equal(np.load(tmp_path / "answer.npy"), expected)
