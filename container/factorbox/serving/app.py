"""The HTTP side: the routes and their statuses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import cast

import orjson
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

from factorbox.serving import console, openapi
from factorbox.serving.body import ByteStream, read_body, throw_away
from factorbox.serving.invocations import Invocations, Recommends
from factorbox.serving.media_types import FORMATS, answer_type, request_format
from factorbox.serving.refusals import RequestError
from factorbox.serving.settings import Settings

# Requests in one payload are answered faster than requests one by one; SageMaker's own default for their size.
BATCH_STRATEGY = "MULTI_RECORD"
PAYLOAD_MIB = 6

_ROUTES = "POST /invocations, GET /ping, GET /execution-parameters and GET /openapi.json"
_ROUTES_WITH_CONSOLE = f"{_ROUTES}, and for people GET / and GET /search"

_logger = logging.getLogger(__name__)


def create_app(recommender: Recommends, *, settings: Settings, workers: int, ready: Callable[[], bool]) -> Flask:
    """Make the application that answers SageMaker's calls.

    Parameters
    ----------
    recommender
        The model.
    settings
        How to serve.
    workers
        Worker processes, which is how many requests are best sent at the same time.
    ready
        Whether this process has made its first product.
    """
    app = Flask("factorbox", static_folder=None)
    invocations = Invocations(recommender, settings=settings)

    @app.get("/ping")
    def ping() -> Response:
        """Health: 200 once this process can answer, 503 before."""
        status = HTTPStatus.OK if ready() else HTTPStatus.SERVICE_UNAVAILABLE
        return Response(status=status, content_type="text/plain; charset=utf-8")

    @app.get("/execution-parameters")
    def execution_parameters() -> dict[str, str | int]:
        """How a transform job should send its records."""
        return {
            "MaxConcurrentTransforms": workers,
            "BatchStrategy": BATCH_STRATEGY,
            "MaxPayloadInMB": min(PAYLOAD_MIB, settings.max_payload_mib or PAYLOAD_MIB),
        }

    if settings.console:
        console.add_console(app, recommender, traits=recommender.answering.traits)
    routes = _ROUTES_WITH_CONSOLE if settings.console else _ROUTES
    document = orjson.dumps(
        openapi.description(recommender.answering.traits, more_paths=console.PATHS if settings.console else {})
    )

    @app.get("/openapi.json")
    def describe() -> Response:
        """What can be asked, and how it is answered."""
        return Response(document, content_type="application/json")

    @app.post("/invocations")
    def invoke() -> Response:
        """Recommendations for the records of the body."""
        environ = request.environ
        body = read_body(
            cast(ByteStream, environ["wsgi.input"]),
            content_length=request.content_length,
            max_payload_mib=settings.max_payload_mib,
        )
        if not ready():
            raise RequestError(
                "the model is not ready yet: try again in a few seconds",
                status=HTTPStatus.SERVICE_UNAVAILABLE,
            )
        if (encoding := environ.get("HTTP_CONTENT_ENCODING", "identity").strip().lower()) != "identity":
            raise RequestError(
                f"Content-Encoding {encoding!a} is not understood: send the body as it is",
                status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            )
        content_type = answer_type(environ.get("HTTP_ACCEPT"))
        answer = invocations.answer(
            body,
            request_format=request_format(environ.get("CONTENT_TYPE")),
            answer_format=FORMATS[content_type],
        )
        if answer is None:
            return Response(status=HTTPStatus.NO_CONTENT)
        return Response(answer, content_type=content_type)

    @app.errorhandler(RequestError)
    def refuse(error: RequestError) -> Response:
        """A request that cannot be answered as it is."""
        return _one_line(str(error), status=error.status)

    @app.errorhandler(HTTPException)
    def misdirect(error: HTTPException) -> Response:
        """A wrong path or method."""
        throw_away(cast(ByteStream, request.environ["wsgi.input"]))
        response = _one_line(
            f"{request.method} {ascii(request.path)[1:-1]} is not served here: the routes are {routes}",
            status=HTTPStatus(error.code or HTTPStatus.INTERNAL_SERVER_ERROR),
        )
        for name, value in error.get_headers():
            if name == "Allow":
                response.headers[name] = value
        return response

    @app.errorhandler(Exception)
    def fail(error: Exception) -> Response:
        """A fault of ours: the log has the traceback, the caller gets one line."""
        _logger.error("a request failed", exc_info=error)
        return _one_line("the server failed on this request: its log says why", status=HTTPStatus.INTERNAL_SERVER_ERROR)

    return app


def _one_line(message: str, *, status: HTTPStatus) -> Response:
    return Response(message, status=status, content_type="text/plain; charset=utf-8")
