"""The service over HTTP: equal answers by every protocol, and clear refusals."""

import gzip
import io
import json
import re
import shutil
import subprocess
import threading
import time
import zlib

import numpy as np
import pytest
from in_process import slow_boards
from PIL import Image
from served import serving_in_process
from small_files import colours_file

from keras_concurrent.edge.images import read_image
from keras_concurrent.edge.watch.bench import random_images, reference
from keras_concurrent.export.assemble import export_bundle
from keras_concurrent.serve.access import Access

LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A service that names the colour of a picture, by a quantised model."""
    folder = tmp_path_factory.mktemp("colours")
    bundle = export_bundle(
        colours_file("uint8"), slow_boards(3), folder / "bundle",
        class_names=("red", "green", "blue"),
    )  # fmt: skip
    with serving_in_process(bundle, "colours") as each:
        yield each


@pytest.fixture(scope="module")
def image(bundle):
    return random_images(bundle, 1)[0]


@pytest.fixture(scope="module")
def expected(bundle, image):
    return reference(bundle, [image])[0]["classes"]


def v2_request(image, **rest):
    said = {"name": "image", "shape": list(image.shape), "datatype": "FP32"}
    return {"inputs": [{**said, "data": image.ravel().tolist()}], **rest}


def test_the_server_and_its_model_say_what_they_are(served):
    status, said = served.json("GET", "/v2")
    assert (status, said["name"]) == (200, "keras-concurrent")
    assert "binary_tensor_data" in said["extensions"]
    assert served.json("GET", "/v2/health/live") == (200, {"live": True})
    assert served.json("GET", "/v2/health/ready")[0] == 200
    for path in ("/v2/models/small", "/v2/models/small/versions/1"):
        status, said = served.json("GET", path)
        assert status == 200
        assert said["inputs"] == [{"name": "image", "datatype": "FP32", "shape": [-1, 16, 16, 3]}]
        assert served.json("GET", f"{path}/ready") == (200, {"name": "small", "ready": True})
    status, said = served.json("GET", "/v1/models/small")
    assert said["model_version_status"][0]["state"] == "AVAILABLE"
    status, said = served.json("GET", "/v1/models/small/metadata")
    signature = said["metadata"]["signature_def"]["signature_def"]["serving_default"]
    assert signature["inputs"]["image"]["dtype"] == "DT_FLOAT"
    assert [d["size"] for d in signature["inputs"]["image"]["tensor_shape"]["dim"]] == [
        "-1", "16", "16", "3",
    ]  # fmt: skip


def test_every_protocol_answers_bit_for_bit_as_the_uncut_model(served, image, expected):
    def as_float32(data):
        return np.array(data, np.float32).reshape(expected.shape)

    status, said = served.json("POST", "/v2/models/small/infer", v2_request(image, id="7"))
    assert (status, said["id"], said["model_name"]) == (200, "7", "small")
    np.testing.assert_array_equal(as_float32(said["outputs"][0]["data"]), expected)

    raw = image.tobytes()
    status, headers, body = served.ask("POST", "/v2/models/small/infer", raw, {LENGTH: "0"})
    length = int(headers[LENGTH])
    assert (status, headers["content-type"]) == (200, "application/octet-stream")
    assert json.loads(body[:length])["outputs"][0]["parameters"]["binary_data_size"] == 16
    assert body[length:] == expected.tobytes()

    instances = {"signature_name": "serving_default", "instances": image.tolist()}
    for path in ("/v1/models/small:predict", "/v1/models/small/versions/1:predict"):
        status, said = served.json("POST", path, instances)
        assert status == 200
        np.testing.assert_array_equal(as_float32(said["predictions"]), expected)
    status, said = served.json(
        "POST", "/v1/models/small:predict", {"inputs": {"image": image.tolist()}}
    )
    np.testing.assert_array_equal(as_float32(said["outputs"]), expected)


def test_a_batch_is_answered_in_its_order(served, bundle):
    images = random_images(bundle, 3, seed=2)
    wanted = [answer["classes"][0] for answer in reference(bundle, images)]
    _, said = served.json(
        "POST", "/v1/models/small:predict", {"instances": [each[0].tolist() for each in images]}
    )
    np.testing.assert_array_equal(np.array(said["predictions"], np.float32), wanted)


@pytest.mark.parametrize(
    ("encoding", "packed"), [("gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_compressed_bodies_are_read(served, image, expected, encoding, packed):
    headers = {LENGTH: "0", "Content-Encoding": encoding}
    _, headers, body = served.ask(
        "POST", "/v2/models/small/infer", packed(image.tobytes()), headers
    )
    assert body[int(headers[LENGTH]) :] == expected.tobytes()


def test_a_body_that_would_fill_the_memory_is_refused(served):
    bomb = gzip.compress(bytes(80 << 20))
    headers = {LENGTH: "0", "Content-Encoding": "gzip"}
    status, said = served.json("POST", "/v2/models/small/infer", bomb, headers)
    assert (status, said["error"]) == (413, "a body must be at most 67108864 bytes")
    headers = {"Content-Length": str(1 << 40)}
    assert served.json("POST", "/recognise", b"", headers)[0] == 413


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "message"),
    [
        ("POST", "/v2/models/small/infer", {"inputs": []}, 400, "expected the inputs image, got n"),
        ("POST", "/v2/models/small/infer", b"{", 400, "failed to parse the request JSON"),
        ("POST", "/v2/models/other/infer", {}, 404, "Request for unknown model: 'other' is not f"),
        ("GET", "/v2/models/small/versions/2", None, 404, "'small' version 2 is not found"),
        ("GET", "/v2/nothing", None, 404, "Not Found"),
        ("GET", "/v2/models/small/infer", None, 405, "Method Not Allowed"),
        ("POST", "/v1/models/small:predict", {}, 400, "either 'instances' or 'inputs'"),
        ("POST", "/v1/models/small:predict", {"instances": []}, 400, "at least one image"),
        ("POST", "/v1/models/small:predict", {"inputs": {"x": 1}}, 400, "expected the inputs imag"),
        ("POST", "/recognise", b"GIF89a", 400, "what was posted is not an image of JPEG or PNG"),
    ],
)
def test_what_cannot_be_answered_is_told_as_the_protocols_tell_errors(
    served, method, path, body, status, message
):
    came, said = served.json(method, path, body)
    assert came == status
    assert re.search(message, said["error"]), said


def test_a_posted_picture_is_prepared_as_the_bundle_says_and_named(colours, tmp_path):
    pixels = np.full((30, 50, 3), (40, 90, 230), np.uint8)
    for kind in ("png", "jpeg"):
        content = io.BytesIO()
        Image.fromarray(pixels).save(content, kind)
        (tmp_path / f"picture.{kind}").write_bytes(content.getvalue())
        status, said = colours.json("POST", "/recognise", content.getvalue())
        assert status == 200
        (output,) = said["outputs"].values()
        assert output["best"][0]["name"] == "blue"
        manifest = colours.service.manifest
        spec = manifest.tensors[manifest.inputs[0]]
        values = read_image(tmp_path / f"picture.{kind}", spec)
        answer = colours.client.infer(values)
        (scores,) = (manifest.tensors[n].dequantised(codes) for n, codes in answer.items())
        assert output["values"] == scores.ravel().tolist()
        assert 0 < said["latency_s"] < 20


@pytest.mark.skipif(not shutil.which("curl"), reason="no curl here")
def test_curl_posts_a_file_as_the_documentation_says(colours, tmp_path):
    Image.new("RGB", (20, 20), "red").save(tmp_path / "red.png")
    for words in (["--data-binary", f"@{tmp_path / 'red.png'}"], ["-T", tmp_path / "red.png"]):
        command = ["curl", "-sf", *words, f"http://127.0.0.1:{colours.port}/recognise"]
        said = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
        assert next(iter(said["outputs"].values()))["best"][0]["name"] == "red"


def test_no_answer_in_time_is_a_gateway_timeout_that_names_who_owes_it(bundle, image):
    with serving_in_process(bundle) as served:
        for board in served.boards:
            board._handle = lambda packet: None  # they take packets and never answer
        asked = v2_request(image, parameters={"timeout": 200_000})
        status, said = served.json("POST", "/v2/models/small/infer", asked)
        assert status == 504
        assert re.match(r"no answer after 0.(2|19\d*) s: classes did not come", said["error"])


def test_too_many_images_are_refused_at_once_and_counted(bundle, image):
    with serving_in_process(bundle, in_flight=1, waiting=1) as served:
        body = {"instances": [image[0].tolist()] * 3}
        status, said = served.json("POST", "/v1/models/small:predict", body)
        assert status == 503
        assert said["error"] == "busy: 0 images are asked for, at most 2 may be"
        body = {"instances": [image[0].tolist()] * 2}
        assert served.json("POST", "/v1/models/small:predict", body)[0] == 200
        text = served.ask("GET", "/metrics")[2].decode()
        assert "keras_concurrent_refused_images_total 3.0" in text


def test_a_board_that_fails_is_named_and_the_failure_counted(bundle, image):
    with serving_in_process(bundle) as served:
        name, segment = next(iter(served.boards[0]._workshop._segments.items()))

        def fail(_):
            raise RuntimeError("out of memory")

        segment.run_in_place = fail
        status, said = served.json("POST", "/v2/models/small/infer", v2_request(image))
        assert status == 500
        assert said["error"] == f"pi3-1 failed in {name}: out of memory"
        text = served.ask("GET", "/metrics")[2].decode()
        assert 'keras_concurrent_failed_requests_total{status="500"} 1.0' in text
        assert 'nv_inference_request_failure{model="small",version="1"} 1.0' in text


def test_askers_at_once_all_get_their_own_answer(served, bundle):
    images = random_images(bundle, 8, seed=3)
    wanted = [answer["classes"].tobytes() for answer in reference(bundle, images)]
    got = [[] for _ in images]

    def ask(index):
        for _ in range(10):
            body = images[index].tobytes()
            _, headers, said = served.ask("POST", "/v2/models/small/infer", body, {LENGTH: "0"})
            got[index].append(said[int(headers[LENGTH]) :])

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [[each] * 10 for each in wanted]
    assert (served.service.in_flight, served.service.waiting) == (0, 0)


def test_the_page_is_one_file_and_asks_nobody_else(served):
    status, headers, body = served.ask("GET", "/")
    page = body.decode()
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert re.findall(r"""<[^>]*\s(?:src|href)=["']|@import|url\(""", page) == []
    assert re.findall(r"https?://(?!www\.w3\.org/)", page) == []
    assert "default-src 'none'" in headers["content-security-policy"]


def test_the_page_is_told_of_boards_images_and_their_timeline(served, bundle, image):
    served.json("POST", "/v2/models/small/infer", v2_request(image))
    for _ in range(100):
        _, said = served.json("GET", "/live.json")
        if said["traced"] and all(board["status"] for board in said["boards"]):
            break
        time.sleep(0.1)
    programs = bundle.placement("boards").programs
    assert {board["name"]: board["computed"] for board in said["boards"]} == {
        name: list(program.segments) for name, program in programs.items()
    }
    assert all(board["here"] and board["status"]["images"] > 0 for board in said["boards"])
    assert said["predicted_s"] == bundle.placement("boards").predicted_latency_s
    number = said["latencies"][-1][0]
    assert number == said["images"]
    assert served.json("GET", f"/live.json?after={number}")[1]["latencies"] == []


def test_with_a_token_only_who_has_it_is_answered(bundle):
    token = "0123456789abcdef"
    with serving_in_process(bundle, access=Access(token=token)) as served:
        assert served.json("GET", "/v2/health/ready")[0] == 200
        assert served.ask("GET", "/")[0] == 200
        for given in ({}, {"Authorization": "Bearer 0123456789abcdeX"}, {"Authorization": token}):
            status, headers, _ = served.ask("GET", "/v2/models/small", headers=given)
            assert (status, headers["www-authenticate"]) == (401, "Bearer")
        given = {"Authorization": f"Bearer {token}"}
        for path in ("/v2/models/small", "/metrics", "/live.json", "/v1/models/small"):
            assert served.ask("GET", path, headers=given)[0] == 200


def test_pages_from_elsewhere_cannot_ask_by_way_of_a_browser_here(served):
    for headers, status in (
        ({"Host": "evil.example"}, 403),  # its name was made to mean this machine
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": f"http://127.0.0.1:{served.port}"}, 200),
        ({"Host": f"localhost:{served.port}"}, 200),
        ({"Host": f"[::1]:{served.port}"}, 200),
    ):
        assert served.ask("GET", "/v2", headers=headers)[0] == status, headers
