"""The metrics, as Prometheus's own parser reads them."""

import time

import pytest
from in_process import slow_boards
from served import serving_in_process

from keras_concurrent.edge.watch.bench import random_images

parser = pytest.importorskip("prometheus_client.parser")


def key(name, **labels):
    return (name, *sorted(labels.items()))


def metrics_of(served):
    """Values by name and labels."""
    status, headers, body = served.ask("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    families = parser.text_string_to_metric_families(body.decode())
    return {
        key(sample.name, **sample.labels): sample.value
        for family in families
        for sample in family.samples
    }


def test_what_is_asked_is_counted_under_tritons_names(bundle):
    image = random_images(bundle, 1)[0]
    model = {"model": "small", "version": "1"}
    with serving_in_process(bundle) as served:
        before = metrics_of(served)
        assert before[key("nv_inference_request_success", **model)] == 0
        body = {"instances": [image[0].tolist()] * 3}
        assert served.json("POST", "/v1/models/small:predict", body)[0] == 200
        assert served.json("POST", "/v1/models/small:predict", {})[0] == 400
        found = metrics_of(served)
    assert found[key("nv_inference_request_success", **model)] == 1
    assert found[key("nv_inference_request_failure", **model)] == 1
    assert found[key("nv_inference_count", **model)] == 3
    assert found[key("nv_inference_pending_request_count", **model)] == 0
    assert found[key("keras_concurrent_images_in_flight")] == 0
    assert found[key("keras_concurrent_image_seconds_count")] == 3
    assert found[key("keras_concurrent_request_seconds_count", protocol="v1")] == 1
    spent_us = found[key("nv_inference_compute_infer_duration_us", **model)]
    assert spent_us == pytest.approx(found[key("keras_concurrent_image_seconds_sum")] * 1e6)
    assert 0 < spent_us < 3 * found[key("nv_inference_request_duration_us", **model)]
    predicted = bundle.placement("boards").predicted_latency_s
    assert found[key("keras_concurrent_predicted_seconds")] == predicted


def test_boards_are_told_of_and_a_lost_one_is_counted(bundle):
    image = random_images(bundle, 1)[0]
    names = [board.name for board in slow_boards(3).boards]
    with serving_in_process(bundle) as served:
        metrics_of(served)  # from now on boards are asked
        served.client.infer(image)
        body = {"instances": image.tolist()}

        def found_in_time(wanted):
            for _ in range(100):
                served.json("POST", "/v1/models/small:predict", body)
                found = metrics_of(served)
                if found.get(wanted, 0) >= 1:
                    return found
                time.sleep(0.1)
            raise AssertionError(wanted)

        traced = "keras_concurrent_board_part_seconds_count"
        found = found_in_time(key(traced, board="pi3-2", part="compute"))
        for name in names:
            assert found[key("keras_concurrent_board_here", board=name)] == 1
            assert found[key("keras_concurrent_board_losses_total", board=name)] == 0
            for part in ("compute", "wire", "waiting"):
                assert found[key(traced, board=name, part=part)] >= 1
        assert found[key("keras_concurrent_board_images", board="pi3-1")] >= 1

        served.exchange.leave("pi3-2")
        found = found_in_time(key("keras_concurrent_board_losses_total", board="pi3-2"))
        assert found[key("keras_concurrent_board_here", board="pi3-2")] == 0
        assert found[key("keras_concurrent_board_here", board="pi3-1")] == 1
        _, said = served.json("GET", "/live.json")
        assert [(h["board"], h["here"]) for h in said["happenings"]] == [("pi3-2", False)]
        assert not any(failed for *_, failed in said["latencies"])
