"""The error that an operation answers with."""

from __future__ import annotations


class ServiceError(Exception):
    """A refusal that the caller sees as an AWS error.

    Parameters
    ----------
    code
        The name that AWS uses: ``ValidationException``, ``ResourceInUse``, ``ResourceNotFound``...
    message
        What is wrong and, where AWS does not say it, the remedy.
    status
        The HTTP status.
    fields
        Further members of the error, such as ``OriginalStatusCode`` of a ``ModelError``.
    """

    def __init__(self, code: str, message: str, *, status: int = 400, fields: dict[str, object] | None = None) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = status
        self.fields = fields or {}


def invalid(message: str) -> ServiceError:
    """Return a ``ValidationException``, which is what SageMaker answers most refusals with."""
    return ServiceError("ValidationException", message)
