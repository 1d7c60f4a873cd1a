"""Requests and answers as AWS puts them on the wire: JSON 1.1 for SageMaker, XML for S3, IAM and STS."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote
from wsgiref.types import StartResponse, WSGIEnvironment
from xml.sax.saxutils import escape

from local_sagemaker.errors import ServiceError

_JSON = "application/x-amz-json-1.1"
_SCOPE = re.compile(r"Credential=[^/,\s]+/\d{8}/[^/,\s]+/(?P<service>[^/,\s]+)/aws4_request")


@dataclass(frozen=True)
class Answer:
    """One response: its status, headers and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a WSGI request with it."""
        headers = {**self.headers, "Content-Length": str(len(self.body)), "x-amzn-RequestId": str(uuid.uuid4())}
        start_response(f"{self.status} {_phrase(self.status)}", list(headers.items()))
        return (self.body,)


def json_answer(content: Mapping[str, Any]) -> Answer:
    """Return a result in JSON 1.1; ``datetime`` becomes seconds since the epoch."""
    return Answer(200, {"Content-Type": _JSON}, json.dumps(content, default=_epoch).encode())


def json_error(error: ServiceError) -> Answer:
    """Return an error in JSON, as SageMaker and its runtime write it."""
    content = {"__type": error.code, "message": error.message, "Message": error.message, **error.fields}
    headers = {"Content-Type": _JSON, "x-amzn-ErrorType": error.code}
    return Answer(error.status, headers, json.dumps(content, default=_epoch).encode())


def xml_error(error: ServiceError, *, service: str) -> Answer:
    """Return an error in XML: S3 writes it bare, the others within an ``ErrorResponse``."""
    content = f"<Error><Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message></Error>"
    if service != "s3":
        content = f"<ErrorResponse>{content}</ErrorResponse>"
    return Answer(error.status, {"Content-Type": "text/xml"}, content.encode())


def read_json(environ: WSGIEnvironment) -> dict[str, Any]:
    """Return the parameters of a JSON 1.1 request; members that are ``null`` count as not given.

    Raises
    ------
    ServiceError
        ``SerializationException`` where the body is no JSON object.
    """
    body = read_body(environ)
    try:
        params = json.loads(body or b"{}", object_pairs_hook=_without_nulls)
    except ValueError as error:
        raise ServiceError("SerializationException", f"The request is no JSON: {error}") from None
    except RecursionError:
        raise ServiceError("SerializationException", "The request is JSON that is nested too deeply") from None
    if not isinstance(params, dict):
        raise ServiceError("SerializationException", "The request is JSON, and no object: send the parameters by name")
    return params


def read_body(environ: WSGIEnvironment) -> bytes:
    """Return the whole body of a request."""
    blocks = iter(lambda: environ["wsgi.input"].read(1024 * 1024), b"")
    return b"".join(blocks)


def signed_service(environ: WSGIEnvironment) -> str:
    """Return the service that a request is signed for, in lower case; ``s3`` where it is not signed."""
    signed = environ.get("HTTP_AUTHORIZATION", "") + " " + unquote(environ.get("QUERY_STRING", ""))
    scope = _SCOPE.search(signed)
    return scope["service"].lower() if scope else "s3"


def _without_nulls(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in pairs if value is not None}


def _epoch(value: object) -> float:
    if isinstance(value, datetime):
        return value.timestamp()
    raise TypeError(f"{type(value).__name__} has no place in a response: {value!r}")


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
