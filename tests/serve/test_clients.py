"""Clients that no one here wrote."""

import shutil
import subprocess

import numpy as np
import pytest
from served import serving_in_process

from keras_concurrent.edge.watch.bench import random_images, reference


@pytest.fixture(scope="module")
def triton(served):
    module = pytest.importorskip("tritonclient.http", reason="tritonclient[http] is not installed")
    with module.InferenceServerClient(f"127.0.0.1:{served.port}") as client:
        yield module, client


def input_of(module, values, **options):
    made = module.InferInput("image", values.shape, "FP32")
    made.set_data_from_numpy(values, **options)
    return made


def test_tritons_client_finds_the_server_and_its_model(triton):
    _, client = triton
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("small")
    assert client.is_model_ready("small", "1")
    assert not client.is_model_ready("other")
    assert client.get_server_metadata()["name"] == "keras-concurrent"
    assert client.get_model_metadata("small")["inputs"][0]["shape"] == [-1, 16, 16, 3]


@pytest.mark.parametrize("sent_as_bytes", [True, False])
@pytest.mark.parametrize("came_as_bytes", [True, False])
def test_tritons_client_gets_the_uncut_models_answers(triton, bundle, sent_as_bytes, came_as_bytes):
    module, client = triton
    images = random_images(bundle, 2)
    expected = np.concatenate([answer["classes"] for answer in reference(bundle, images)])
    answer = client.infer(
        "small",
        [input_of(module, np.concatenate(images), binary_data=sent_as_bytes)],
        outputs=[module.InferRequestedOutput("classes", binary_data=came_as_bytes)],
        request_id="a number",
    )
    np.testing.assert_array_equal(answer.as_numpy("classes"), expected)
    assert answer.get_response()["id"] == "a number"


def test_tritons_client_compresses_asks_at_once_and_names_errors(triton, bundle):
    module, client = triton
    images = random_images(bundle, 1)
    expected = reference(bundle, images)[0]["classes"]
    given = [input_of(module, images[0])]
    for algorithm in ("gzip", "deflate"):
        answer = client.infer("small", given, request_compression_algorithm=algorithm)
        np.testing.assert_array_equal(answer.as_numpy("classes"), expected)
    asked = [client.async_infer("small", given) for _ in range(4)]
    for each in asked:
        np.testing.assert_array_equal(each.get_result().as_numpy("classes"), expected)
    with pytest.raises(Exception, match="unknown model: 'other' is not found"):
        client.infer("other", given)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here")
def test_the_page_shows_boards_and_the_latest_image_in_chromium(bundle, tmp_path):
    with serving_in_process(bundle) as served:
        image = random_images(bundle, 1)[0]
        for _ in range(50):
            served.json("GET", "/live.json")
            served.json("POST", "/v1/models/small:predict", {"instances": image.tolist()})
            if served.watcher.traced is not None and len(served.watcher.statuses) == 3:
                break
        command = [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=400,900",
            f"--user-data-dir={tmp_path}", "--virtual-time-budget=4000", "--dump-dom",
            f"http://127.0.0.1:{served.port}/",
        ]  # fmt: skip
        page = subprocess.run(command, capture_output=True, text=True, timeout=50).stdout
    assert "all 3 boards are here" in page
    for name, program in bundle.placement("boards").programs.items():
        assert name in page
        for segment in program.segments:
            assert f"<title>{segment} on {name}: " in page  # a bar of the timeline
    assert "predicted" in page
