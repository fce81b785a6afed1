"""The addresses of a service, and what stands behind each."""

from __future__ import annotations

import asyncio
import functools
import io
import json
import time
from collections.abc import Awaitable, Callable
from importlib import resources
from typing import Any

from keras_concurrent._version import __version__
from keras_concurrent.edge.classes import scores_of, told
from keras_concurrent.edge.images import read_picture
from keras_concurrent.edge.preprocessing import Preprocessing
from keras_concurrent.errors import ConcurrentError, MissingExtraError
from keras_concurrent.interpreter import Array
from keras_concurrent.serve import inference, metrics, predict
from keras_concurrent.serve.live import live
from keras_concurrent.serve.service import Service, UnservedError
from keras_concurrent.serve.tensors import images_of, together
from keras_concurrent.serve.watcher import Watcher

try:
    from starlette.applications import Starlette
    from starlette.exceptions import HTTPException
    from starlette.requests import Request
    from starlette.responses import HTMLResponse, JSONResponse, Response
    from starlette.routing import Route
except ImportError as error:  # pragma: no cover - depends on the installation
    raise MissingExtraError("Starlette", "serve") from error

from keras_concurrent.serve.body import read_body

_PAGE = "page.html"
_FORMATS = ("JPEG", "PNG")
Endpoint = Callable[[Request], Awaitable[Response]]


def application(
    service: Service, watcher: Watcher, preprocessing: Preprocessing | None = None
) -> Starlette:
    """All addresses of a service.

    Args:
        service: answers.
        watcher: of its boards.
        preprocessing: how pictures become values; by default as the bundle says.
    """
    said = preprocessing or service.manifest.preprocessing
    page = resources.files("keras_concurrent.serve").joinpath(_PAGE).read_text(encoding="utf-8")
    manifest = service.manifest

    async def show(_: Request) -> Response:
        return HTMLResponse(page, headers={"content-security-policy": _POLICY})

    async def state(request: Request) -> Response:
        watcher.look()
        after = request.query_params.get("after", "0")
        return _json(live(service, watcher, int(after) if after.isdigit() else 0))

    async def scrape(_: Request) -> Response:
        watcher.look()
        return Response(service.metrics.text(), media_type=metrics.CONTENT_TYPE)

    async def recognise(request: Request) -> Response:
        began_s = time.perf_counter()
        body = await read_body(request)
        if len(manifest.inputs) != 1:
            raise ValueError(f"the model takes {', '.join(manifest.inputs)}, not one picture")
        name = manifest.inputs[0]
        read = functools.partial(
            read_picture, io.BytesIO(body), "what was posted", manifest.tensors[name], said,
            formats=_FORMATS,
        )  # fmt: skip
        values = await asyncio.to_thread(read)
        (answer,) = await service.ask([{name: values}])
        latency_s = time.perf_counter() - began_s
        service.metrics.succeeded("picture", latency_s)
        outputs = told(manifest, scores_of(manifest, answer))
        return _json({"model": service.model, "latency_s": latency_s, "outputs": outputs})

    # ------------------------------------------------------------- Open Inference Protocol

    async def server(_: Request) -> Response:
        extensions = ["binary_tensor_data", "parameters"]
        return _json({"name": "keras-concurrent", "version": __version__, "extensions": extensions})

    async def alive(_: Request) -> Response:
        return _json({"live": True})

    async def ready(_: Request) -> Response:
        is_ready = service.ready(len(watcher.boards))
        return _json({"live": True, "ready": is_ready}, 200 if is_ready else 400)

    async def model(request: Request) -> Response:
        _check_model(service, request)
        return _json(inference.metadata(manifest, service.model))

    async def model_ready(request: Request) -> Response:
        _check_model(service, request)
        is_ready = service.ready(len(watcher.boards))
        return _json({"name": service.model, "ready": is_ready}, 200 if is_ready else 400)

    async def infer(request: Request) -> Response:
        began_s = time.perf_counter()
        _check_model(service, request)
        body = await read_body(request)
        length = request.headers.get(inference.HEADER_LENGTH)
        asked = inference.read_request(manifest, body, length)
        answer = await _answer(asked.values, asked.timeout_s)
        content, head = inference.response(manifest, service.model, asked, answer)
        service.metrics.succeeded("v2", time.perf_counter() - began_s)
        if head is None:
            return Response(content, media_type="application/json")
        headers = {inference.HEADER_LENGTH: str(head)}
        return Response(content, headers=headers, media_type="application/octet-stream")

    # ------------------------------------------------------------- TensorFlow Serving

    async def status(request: Request) -> Response:
        _check_model(service, request)
        return _json(predict.status())

    async def signature(request: Request) -> Response:
        _check_model(service, request)
        return _json(predict.signature(manifest, service.model))

    async def predict_(request: Request) -> Response:
        began_s = time.perf_counter()
        _check_model(service, request)
        values, by_rows = predict.read_predict(manifest, await read_body(request))
        answer = await _answer(values)
        said = predict.predicted(manifest, answer, by_rows=by_rows)
        service.metrics.succeeded("v1", time.perf_counter() - began_s)
        return _json(said)

    async def _answer(values: dict[str, Array], timeout_s: float | None = None) -> dict[str, Array]:
        return together(await service.ask(images_of(manifest, values), timeout_s))

    def asks(endpoint: Endpoint) -> Endpoint:
        """A request for answers: what fails is counted."""

        async def counted(request: Request) -> Response:
            try:
                return await endpoint(request)
            except ConcurrentError as error:
                code = error.status if isinstance(error, UnservedError) else 500
                service.metrics.failed(code)
                return _error(code, error)
            except ValueError as error:
                service.metrics.failed(400)
                return _error(400, error)

        return counted

    v2, v1 = "/v2/models/{name}", "/v1/models/{name}"
    version = "/versions/{version}"
    return Starlette(
        routes=[  # those that are asked most come first, as each is tried
            *_routes([v2 + "/infer", v2 + version + "/infer"], asks(infer), "POST"),
            Route("/recognise", asks(recognise), methods=["POST", "PUT"]),
            *_routes([v1 + ":predict", v1 + version + ":predict"], asks(predict_), "POST"),
            Route("/", show),
            Route("/live.json", state),
            Route("/metrics", scrape),
            Route("/v2", server),
            Route("/v2/health/live", alive),
            Route("/v2/health/ready", ready),
            *_routes([v2, v2 + version], model),
            *_routes([v2 + "/ready", v2 + version + "/ready"], model_ready),
            *_routes([v1 + "/metadata", v1 + version + "/metadata"], signature),
            *_routes([v1, v1 + version], status),
        ],
        exception_handlers={HTTPException: _http_error, UnservedError: _unserved},
    )


_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src blob: data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)


def _routes(paths: list[str], endpoint: Endpoint, method: str = "GET") -> list[Route]:
    return [Route(path, endpoint, methods=[method]) for path in paths]


def _check_model(service: Service, request: Request) -> None:
    """The model and its version, if one is named, are there.

    Raises:
        UnservedError: they are not.
    """
    name = request.path_params["name"]
    if name != service.model:
        raise UnservedError(404, f"Request for unknown model: {name!r} is not found")
    version = request.path_params.get("version", inference.VERSION)
    if version != inference.VERSION:
        raise UnservedError(
            404, f"Request for unknown model: {name!r} version {version} is not found"
        )


def _json(said: dict[str, Any], status: int = 200) -> Response:
    """JSON as TensorFlow Serving and Triton write it: NaN and infinities stay what they are."""
    body = json.dumps(said, separators=(",", ":"))
    return Response(body, status, media_type="application/json")


def _error(status: int, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status)


async def _http_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, error.headers)


async def _unserved(_: Request, error: Exception) -> Response:
    assert isinstance(error, UnservedError)
    return _error(error.status, error)
