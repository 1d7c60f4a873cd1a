"""The page at `GET /` of a served model, and the search that it asks: two routes beside those of SageMaker."""

from __future__ import annotations

import base64
import hashlib
import re
from http import HTTPStatus
from pathlib import Path

import orjson
from flask import Flask, Response, request

from factorbox.recommend.traits import Traits
from factorbox.serving.fields import JsonObject
from factorbox.serving.openapi import json_answer, refusals
from factorbox.serving.refusals import RequestError
from factorbox.serving.search import Search, Searched

DEFAULT_LIMIT = 20
MAX_LIMIT = 100
LONGEST_TEXT = 1_000

_PAGE = Path(__file__).with_name("console.html")
_SUBJECTS = ("text", "user_id")
_PARAMETERS = (*_SUBJECTS, "limit")
_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}


def add_console(app: Flask, model: Searched, *, traits: Traits) -> None:
    """Add the page and its search to an application.

    Parameters
    ----------
    app
        The application; it answers a `RequestError` by its status and message, and `POST /invocations`, which the
        page asks for recommendations.
    model
        The model that is looked at.
    traits
        What the page has to know of the model before it asks for anything.
    """
    page = page_for(traits)
    page_headers = {**_HEADERS, "Content-Security-Policy": content_security_policy(page)}
    search = Search(model)

    @app.get("/")
    def show_page() -> Response:
        """The page."""
        return Response(page, content_type="text/html; charset=utf-8", headers=page_headers)

    @app.get("/search")
    def find() -> Response:
        """Users and items to choose from."""
        asked = _parameters()
        limit = _limit(asked.get("limit", str(DEFAULT_LIMIT)))
        if "text" in asked:
            answer = search.find(asked["text"], limit=limit)
        elif "user_id" in asked:
            answer = search.of_user(asked["user_id"], limit=limit)
        else:
            answer = search.overview(limit=limit)
        return Response(orjson.dumps(answer), content_type="application/json", headers=_HEADERS)


def page_for(traits: Traits) -> str:
    """Return the page, which knows its model by attributes of its body; all else is the same for every model."""
    known = {"feedback": traits.feedback.kind, "link": traits.link, "explains": str(traits.explains).lower()}
    attributes = "".join(f' data-{name}="{value}"' for name, value in known.items())
    return _PAGE.read_text(encoding="utf-8").replace("<body>", f"<body{attributes}>", 1)


def content_security_policy(page: str) -> str:
    """Return the policy under which nothing runs but the page's own script and style, and nothing goes elsewhere."""
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash(page, 'script')}",
            f"style-src {_hash(page, 'style')}",
            "connect-src 'self'",
            # The icon is part of the page.
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # Texts of others can only become text: the browser refuses to read any as HTML.
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        )
    )


def _hash(page: str, tag: str) -> str:
    """Return the hash source of the one element of this name."""
    (content,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, flags=re.DOTALL)
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def _parameters() -> dict[str, str]:
    """Return the parameters of a search, each given once and none of them empty."""
    given = {name: values for name, values in request.args.lists() if name in _PARAMETERS}
    for name, values in given.items():
        if len(values) > 1:
            raise _bad(f"{name} is there {len(values)} times: give it once")
        if not values[0]:
            raise _bad(f"{name} is empty: give it a value, or leave it out")
    asked = {name: values[0] for name, values in given.items()}
    if len(asked.keys() & set(_SUBJECTS)) > 1:
        raise _bad("text and user_id are both there: give one of them, or neither")
    if len(text := asked.get("text", "")) > LONGEST_TEXT:
        raise _bad(f"text has {len(text):,} characters: at most {LONGEST_TEXT:,} can be searched for")
    return asked


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= MAX_LIMIT):
        shown = text if len(text) <= 20 else text[:17] + "..."
        raise _bad(f"limit {shown!a} is not possible: give a whole number from 1 to {MAX_LIMIT}")
    return int(text)


def _bad(message: str) -> RequestError:
    return RequestError(message, status=HTTPStatus.BAD_REQUEST)


def _object(properties: JsonObject, *, optional: tuple[str, ...] = ()) -> JsonObject:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _list(properties: JsonObject, *, optional: tuple[str, ...] = ()) -> JsonObject:
    return {"type": "array", "items": _object(properties, optional=optional)}


def _parameter(name: str, schema: JsonObject, description: str) -> JsonObject:
    return {"name": name, "in": "query", "schema": schema, "description": description}


_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_GIVEN = {"type": "string", "minLength": 1}
_FOUND = _object(
    {
        "model": _object({"algorithm": _TEXT, "users": _COUNT, "items": _COUNT}),
        "users": _list({"user_id": _TEXT, "items": {**_COUNT, "description": "Items of the user's history."}}),
        "items": _list(
            {
                "item_id": _TEXT,
                "users": {**_COUNT, "description": "Users whose history has the item."},
                "item": {
                    "type": "object",
                    "additionalProperties": _TEXT,
                    "description": "Its columns in the channel `items`, where it has a row there.",
                },
                "weight": {"type": "number", "description": "With `user_id`: its weight in the history."},
            },
            optional=("item", "weight"),
        ),
    }
)

PATHS: JsonObject = {
    "/": {
        "get": {
            "summary": "A page to look at the model",
            "operationId": "page",
            "responses": {
                "200": {"description": "The page.", "content": {"text/html": {"schema": _TEXT}}},
                **refusals(HTTPStatus.INTERNAL_SERVER_ERROR),
            },
        }
    },
    "/search": {
        "get": {
            "summary": "Users and items to choose from",
            "operationId": "search",
            "description": "With `text`, those whose id begins with it, and items with it in a column. With `user_id`,"
            " the user and the items of the user's history. With neither, users spread over all ids and the items that"
            " most users have.",
            "parameters": [
                _parameter("text", {**_GIVEN, "maxLength": LONGEST_TEXT}, "What to look for; not beside `user_id`."),
                _parameter("user_id", _GIVEN, "A user, known or not."),
                _parameter(
                    "limit",
                    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
                    "How many users, and how many items, at most.",
                ),
            ],
            "responses": {
                **json_answer(_FOUND, description="What was found: empty lists where nothing was."),
                "400": {
                    "description": "A parameter is not possible.",
                    "content": {"text/plain": {"schema": _TEXT}},
                },
            },
        }
    },
}
"""Both routes, as path items of OpenAPI 3.1."""
