"""A whole request that is refused, with the HTTP status that says why."""

from __future__ import annotations

from http import HTTPStatus

from factorbox.errors import UserError


class RequestError(UserError):
    """A request that gets no answer; its message is the one line of the body.

    Parameters
    ----------
    message
        What is wrong, where, and how to mend it.
    status
        The HTTP status of the answer.
    """

    def __init__(self, message: str, *, status: HTTPStatus) -> None:
        super().__init__(message)
        self.status = status
