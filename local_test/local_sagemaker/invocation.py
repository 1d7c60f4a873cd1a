"""``InvokeEndpoint``: one request to the container of an endpoint, and its answer or error."""

from __future__ import annotations

import http.client
from collections.abc import Mapping

from local_sagemaker.errors import ServiceError
from local_sagemaker.live_endpoint import LiveEndpoint

LARGEST_BODY = 6 * 1024 * 1024
"""Bytes of a request and of an answer, as SageMaker limits them."""
ANSWER_SECONDS = 60.0
"""How long the container may take."""

# What of the request reaches the container, whose names HTTP writes in any case; the rest is SageMaker's own.
_FORWARDED = (
    "Content-Type",
    "Accept",
    "X-Amzn-SageMaker-Custom-Attributes",
    "X-Amzn-SageMaker-Inference-Id",
    "X-Amzn-SageMaker-Session-Id",
)
_RETURNED = (
    "X-Amzn-SageMaker-Custom-Attributes",
    "X-Amzn-SageMaker-New-Session-Id",
    "X-Amzn-SageMaker-Closed-Session-Id",
)
# Those that address a part of an endpoint which one here does not have.
_REFUSED = {
    "x-amzn-sagemaker-target-model": "the endpoint serves one model",
    "x-amzn-sagemaker-target-container-hostname": "the endpoint has one container",
    "x-amzn-sagemaker-inference-component": "the endpoint has no inference components",
    "x-amzn-sagemaker-enable-explanations": "the endpoint has no explainer",
}
_LONGEST_MESSAGE = 1024


def invoke(endpoint: LiveEndpoint, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    """Send a request to an endpoint that is in service.

    Parameters
    ----------
    endpoint
        Whose container answers.
    headers
        Those of the request; the case of their names does not matter.
    body
        At most ``LARGEST_BODY`` bytes.

    Returns
    -------
    status, headers, body
        Of the response to the caller.

    Raises
    ------
    ServiceError
        ``ValidationError`` for a request that no endpoint here answers, ``ModelError`` for what the container did.
    """
    given = {name.lower(): value for name, value in headers.items()}
    variant = endpoint.variant["VariantName"]
    if len(body) > LARGEST_BODY:
        text = f"HTTP content length exceeded {LARGEST_BODY} bytes: the request has {len(body)}"
        raise ServiceError("ValidationError", text, status=413)
    for name, reason in _REFUSED.items():
        if name in given:
            raise ServiceError("ValidationError", f"{name} is not supported by the local SageMaker: {reason}")
    if given.get("x-amzn-sagemaker-target-variant", variant) != variant:
        text = f"Variant {given['x-amzn-sagemaker-target-variant']} not found: the endpoint has {variant}"
        raise ServiceError("ValidationError", text)
    sent = {name: given[name.lower()] for name in _FORWARDED if name.lower() in given}
    status, answered, content = _ask(endpoint, sent, body)
    if not 200 <= status < 300:
        raise _model_error(endpoint, status, content.decode("utf-8", errors="replace")[:_LONGEST_MESSAGE])
    if len(content) > LARGEST_BODY:
        raise _model_error(endpoint, status, f"the answer has more than the {LARGEST_BODY} bytes that are allowed")
    returned = {name: value for name in _RETURNED if (value := answered.get(name)) is not None}
    content_type = answered.get("Content-Type", "application/octet-stream")
    return 200, {"Content-Type": content_type, "x-Amzn-Invoked-Production-Variant": variant, **returned}, content


def _ask(endpoint: LiveEndpoint, headers: Mapping[str, str], body: bytes) -> tuple[int, http.client.HTTPMessage, bytes]:
    assert endpoint.address is not None
    connection = http.client.HTTPConnection(*endpoint.address, timeout=ANSWER_SECONDS)
    try:
        connection.request("POST", "/invocations", body=body, headers=dict(headers))
        response = connection.getresponse()
        # One byte more shows that the answer is too large, without reading all of it.
        return response.status, response.headers, response.read(LARGEST_BODY + 1)
    except TimeoutError as error:
        text = f"Your invocation timed out: the container did not answer within {ANSWER_SECONDS:g} seconds"
        raise _model_error(endpoint, 0, text) from error
    except (OSError, http.client.HTTPException) as error:
        text = f"the container closed the connection without a whole answer: {error or type(error).__name__}"
        raise _model_error(endpoint, 0, text) from error
    finally:
        connection.close()


def _model_error(endpoint: LiveEndpoint, status: int, message: str) -> ServiceError:
    side = "client" if 400 <= status < 500 else "server"
    text = f'Received {side} error ({status}) from primary with message "{message}". See the log group '
    arn = endpoint.arn.replace(":sagemaker:", ":logs:").partition(":endpoint/")[0]
    fields = {
        "OriginalStatusCode": status,
        "OriginalMessage": message,
        "LogStreamArn": f"{arn}:log-group:{endpoint.log_group}:log-stream:{endpoint.log_stream}",
    }
    return ServiceError("ModelError", f"{text}{endpoint.log_group} for more.", status=424, fields=fields)
