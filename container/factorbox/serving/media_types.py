"""Which format a request is in, and which one its answer has to be in."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Literal

from werkzeug.http import parse_accept_header, parse_options_header

from factorbox.serving.refusals import RequestError

Format = Literal["csv", "json"]

FORMATS: dict[str, Format] = {"text/csv": "csv", "application/jsonlines": "json", "application/json": "json"}
"""The content types of requests and answers, the default answer first; both JSON types mean JSON Lines."""

_NAMES = ", ".join(FORMATS)

# Clients send the same few headers again and again.
_KEPT = 256


@lru_cache(_KEPT)
def request_format(content_type: str | None) -> Format:
    """Return the format that a `Content-Type` header names.

    Raises
    ------
    RequestError
        415 for a missing or other type, and for a charset other than UTF-8.
    """
    media_type, parameters = parse_options_header(content_type)
    if not media_type.strip():
        raise RequestError(
            f"the request has no Content-Type: send one of {_NAMES} (in a transform job: TransformInput.ContentType)",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    known = FORMATS.get(media_type.strip().lower())
    if known is None:
        raise RequestError(
            f"Content-Type {_shown(media_type)} is not supported: send one of {_NAMES}",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    charset = parameters.get("charset", "utf-8").strip().lower()
    if charset not in ("utf-8", "utf8", "us-ascii"):
        raise RequestError(
            f"charset {_shown(charset)} is not supported: send UTF-8 with {media_type}; charset=utf-8",
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    return known


@lru_cache(_KEPT)
def answer_type(accept: str | None) -> str:
    """Return the content type to answer with: the one that an `Accept` header wants most.

    Of types that are wanted equally, one that is named beats one that a wildcard covers, and then the order of
    `FORMATS` decides; an empty or missing header wants the default.

    Raises
    ------
    RequestError
        406 where the header admits none of them.
    """
    if accept is None or not accept.strip():
        return next(iter(FORMATS))
    # Parameters such as charset do not matter: an answer is always UTF-8.
    wanted = [(name.partition(";")[0].strip().lower(), quality) for name, quality in parse_accept_header(accept)]
    best, best_rank = "", (0.0, 0)
    for offered in FORMATS:
        # The most specific range that covers a type decides on it, even against wider ones (RFC 9110, 12.5.1).
        specificity, quality = max(
            (
                (specificity, quality)
                for specificity, pattern in enumerate(("*/*", f"{offered.partition('/')[0]}/*", offered))
                for name, quality in wanted
                if name == pattern
            ),
            default=(0, 0.0),
        )
        if quality > 0 and (quality, specificity) > best_rank:
            best, best_rank = offered, (quality, specificity)
    if not best:
        raise RequestError(
            f"Accept {_shown(accept)} cannot be answered: ask for one of {_NAMES}",
            status=HTTPStatus.NOT_ACCEPTABLE,
        )
    return best


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 80 else text[:77] + "...")
