"""The one door: SageMaker's operations are answered here, those of the other services by moto."""

from __future__ import annotations

import io
import re
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

from local_sagemaker.errors import ServiceError, invalid
from local_sagemaker.protocol import Answer, json_answer, json_error, read_body, read_json, signed_service, xml_error
from local_sagemaker.ranged_get import answer_range
from local_sagemaker.roles import answer_iam
from local_sagemaker.state import State
from local_sagemaker.validation import service_model, validate

Operation = Callable[[dict[str, Any]], dict[str, Any]]
Invoke = Callable[[str, Mapping[str, str], bytes], tuple[int, Mapping[str, str], bytes]]

# A bucket cannot be called so, and no path of the AWS API starts so.
ENVIRONMENT_PATH = "/_local_sagemaker/environment"

# The signing names of what moto answers.
_MOTO_SERVICES = ("s3", "logs", "monitoring", "iam", "sts", "ecr")
_XML_SERVICES = ("s3", "iam", "sts")
_TARGET = "SageMaker."
_INVOCATIONS = re.compile(r"/endpoints/([^/]+)/invocations")
# botocore notes in the User-Agent which of its features made a call; B stands for a waiter.
_WAITER = re.compile(r"(?:^|\s)m/(?:\S*,)?B(?:,|\s|$)")
# boto3 gives up after 60 seconds without an answer.
_LONGEST_POLL = 50.0
_MOVING = ("InProgress", "Stopping", "Creating", "Updating", "Deleting")
_STATUSES = ("TrainingJobStatus", "TransformJobStatus", "EndpointStatus")


class Front:
    """The WSGI application of a local SageMaker.

    Parameters
    ----------
    state
        Its account, and the changes that waiters wait for.
    operations
        SageMaker's operations by name; each takes validated parameters and returns the result.
    invoke
        Answers ``InvokeEndpoint``: from endpoint name, request headers and body to status, headers and body.
    moto_app
        Answers S3, Logs, CloudWatch, IAM, STS and ECR.
    environment
        What ``python -m local_sagemaker env`` prints for this server.
    """

    def __init__(
        self,
        *,
        state: State,
        operations: Mapping[str, Operation],
        invoke: Invoke,
        moto_app: WSGIApplication,
        environment: Callable[[], Mapping[str, str]],
    ) -> None:
        self._state = state
        self._operations = operations
        self._invoke = invoke
        self._moto_app = moto_app
        self._environment = environment

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        service = signed_service(environ)
        try:
            answer = self._answer(environ, service)
            if answer is None:
                return self._moto_app(environ, start_response)
        except ServiceError as error:
            answer = _refusal(error, environ, service)
        except NotImplementedError as error:
            text = f"The local SageMaker has no such operation: {error}"
            answer = _refusal(ServiceError("NotImplemented", text, status=501), environ, service)
        except Exception as error:
            traceback.print_exc()
            fault = ServiceError("InternalFailure", f"{type(error).__name__}: {error}", status=500)
            answer = _refusal(fault, environ, service)
        return answer.send(start_response)

    def _answer(self, environ: WSGIEnvironment, service: str) -> Answer | None:
        """Return the answer, or ``None`` for moto to give one."""
        path = environ["PATH_INFO"]
        if "HTTP_ORIGIN" in environ:
            # Any web page may send requests to this machine, and a training job runs commands.
            raise ServiceError("AccessDenied", "The local SageMaker takes no requests from web pages", status=403)
        if path == ENVIRONMENT_PATH:
            return json_answer(self._environment())
        if path.startswith("/moto-api"):
            raise ServiceError("AccessDenied", "moto's own interface would wipe what jobs work on", status=403)
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if target.startswith(_TARGET):
            return json_answer(self._sagemaker(target.removeprefix(_TARGET), environ))
        if service == "sagemaker":
            return self._runtime(path, environ)
        if service not in _MOTO_SERVICES:
            known = ", ".join(("sagemaker", *_MOTO_SERVICES))
            raise ServiceError("UnknownService", f"The local SageMaker has no service {service}: it has {known}")
        if service == "s3":
            return answer_range(environ, account=self._state.account)
        if service == "iam":
            body = read_body(environ)
            environ["wsgi.input"] = io.BytesIO(body)
            return answer_iam(body, account=self._state.account)
        return None

    def _sagemaker(self, name: str, environ: WSGIEnvironment) -> dict[str, Any]:
        operation = self._operations.get(name)
        if operation is None:
            if name in service_model().operation_names:
                raise invalid(f"{name} is not supported by the local SageMaker")
            raise ServiceError("UnknownOperationException", f"SageMaker has no operation {name}")
        params = read_json(environ)
        validate(name, params)
        if name.startswith("Describe") and _WAITER.search(environ.get("HTTP_USER_AGENT", "")):
            return self._settled(operation, params)
        return operation(params)

    def _settled(self, operation: Operation, params: dict[str, Any]) -> dict[str, Any]:
        """Hold a waiter's question until there is news: on its own it would sleep for up to two minutes."""
        result: dict[str, Any] = {}

        def has_settled() -> bool:
            nonlocal result
            result = operation(params)
            return not any(result.get(status) in _MOVING for status in _STATUSES)

        self._state.wait_for(has_settled, timeout=_LONGEST_POLL)
        return result

    def _runtime(self, path: str, environ: WSGIEnvironment) -> Answer:
        invocation = _INVOCATIONS.fullmatch(path)
        if invocation is None:
            raise invalid(f"{environ['REQUEST_METHOD']} {path} is not supported by the local SageMaker")
        headers = {
            name.removeprefix("HTTP_").replace("_", "-").title(): value
            for name, value in environ.items()
            if name.startswith("HTTP_") or name == "CONTENT_TYPE"
        }
        status, answered, body = self._invoke(invocation[1], headers, read_body(environ))
        return Answer(status, answered, body)


def _refusal(error: ServiceError, environ: WSGIEnvironment, service: str) -> Answer:
    if service in _XML_SERVICES and "HTTP_X_AMZ_TARGET" not in environ:
        return xml_error(error, service=service)
    return json_error(error)
