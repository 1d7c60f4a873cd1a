"""How schemathesis writes and reads what is sent line by line; it loads this by the name in SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/jsonlines")
def write_lines(_: schemathesis.SerializationContext, value: Any) -> bytes:
    """One line an element; what is no array, for which the server is tested as well, is a line by itself."""
    lines = value if isinstance(value, list) else [value]
    return "\n".join(map(json.dumps, lines)).encode()


@schemathesis.deserializer("application/jsonlines")
def read_lines(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """An element a line."""
    return [json.loads(line) for line in response.content.split(b"\n")]


@schemathesis.deserializer("application/json")
def read_json(_: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """One document; the answers to several records come a line each."""
    lines = response.content.rstrip(b"\n").split(b"\n")
    return json.loads(lines[0]) if len(lines) == 1 else list(map(json.loads, lines))


@schemathesis.hook
def filter_case(_: schemathesis.HookContext, case: schemathesis.Case[Any]) -> bool:
    """Leave out what a schema cannot tell from the opposite.

    Written as text, a CSV body that is meant to be bad for being an object is a good one. Of two parameters that
    exclude each other OpenAPI cannot tell.
    """
    if case.media_type == "text/csv":
        return isinstance(case.body, str)
    return not {"text", "user_id"} <= {*case.query}
