"""The OpenAPI description of the server, made from the fields and forms of a request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import MappingProxyType

import factorbox
from factorbox.recommend.traits import Traits
from factorbox.serving.fields import FIELDS, Field, JsonObject, Likings, one_position
from factorbox.serving.forms import FORMS, Form, Subject

VERSION = "3.1.0"

_LINE = {"text/plain": {"schema": {"type": "string", "description": "One line that says what is wrong."}}}
_REFUSALS = {
    HTTPStatus.BAD_REQUEST: "A bad record, by number, field and value, and how to mend it; or a body that was cut off.",
    HTTPStatus.NOT_ACCEPTABLE: "`Accept` names none of the three content types.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is larger than `SAGEMAKER_MAX_PAYLOAD_IN_MB`.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "`Content-Type` is missing or another one, or the body is encoded.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "A fault of the server: its log says more.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The model is not ready yet.",
}

# An id, quoted as a whole where it holds a comma, a mark or the end of a line; then perhaps top_n.
_CSV_RECORD = r'([^",\r\n]+|"([^"]|"")+")(,("0*[1-9][0-9]*"|0*[1-9][0-9]*))?'


def description(traits: Traits, *, more_paths: Mapping[str, JsonObject] = MappingProxyType({})) -> JsonObject:
    """Return the OpenAPI document.

    Parameters
    ----------
    traits
        Of the model that is served: they say which records it takes. The answers are described for all models.
    more_paths
        Path items of routes that are not part of the contract, by path.
    """
    fields = {name: field for name, field in FIELDS.items() if traits.explains or name != "explain"}
    return {
        "openapi": VERSION,
        "info": {
            "title": "factorbox",
            "version": factorbox.__version__,
            "description": "Recommendations of one factorization model, behind the Amazon SageMaker contract.",
        },
        "paths": {
            "/ping": {"get": _ping()},
            "/invocations": {"post": _invocations(_forms(fields))},
            "/execution-parameters": {"get": _execution_parameters()},
            "/openapi.json": {"get": _openapi()},
            **more_paths,
        },
        "components": {
            "schemas": dict([*_request_schemas(fields, minimum=traits.feedback.minimum), *_answer_schemas()])
        },
    }


def refusals(*statuses: HTTPStatus) -> JsonObject:
    """Return responses of one line of text, by status."""
    return {str(status.value): {"description": _REFUSALS[status], "content": _LINE} for status in statuses}


def json_answer(schema: JsonObject, *, description: str) -> JsonObject:
    """Return a response 200 with a JSON document, and the response 500."""
    answer = {"description": description, "content": {"application/json": {"schema": schema}}}
    return {"200": answer} | refusals(HTTPStatus.INTERNAL_SERVER_ERROR)


def _ping() -> JsonObject:
    empty = {"text/plain": {"schema": {"type": "string", "maxLength": 0}}}
    unready = {"description": _REFUSALS[HTTPStatus.SERVICE_UNAVAILABLE], "content": empty}
    return {
        "summary": "Health",
        "operationId": "ping",
        "responses": {
            "200": {"description": "The model answers.", "content": empty},
            "503": unready,
            **refusals(HTTPStatus.INTERNAL_SERVER_ERROR),
        },
    }


def _execution_parameters() -> JsonObject:
    properties = {
        "MaxConcurrentTransforms": {"type": "integer", "minimum": 1},
        "BatchStrategy": {"const": "MULTI_RECORD"},
        "MaxPayloadInMB": {"type": "integer", "minimum": 1},
    }
    return {
        "summary": "How a batch transform job should send its records",
        "operationId": "execution_parameters",
        "responses": json_answer(
            _closed(properties, required=[*properties]), description="Settings of a transform job."
        ),
    }


def _openapi() -> JsonObject:
    return {
        "summary": "This document",
        "operationId": "openapi",
        "responses": json_answer({"type": "object"}, description="An OpenAPI document."),
    }


def _invocations(forms: str) -> JsonObject:
    record, answer = _ref("Record"), _ref("Answer")
    return {
        "summary": "Answers to the records of the body, in order",
        "operationId": "invocations",
        "description": f"A record asks for one of these, with what may be beside it:\n\n{forms}\n\n"
        "The answer is in the form that `Accept` names, CSV by default.",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {
                        "anyOf": [record, {"type": "array", "items": record}],
                        "description": "One record, an array of records, or one record a line.",
                    }
                },
                "application/jsonlines": {
                    "schema": {"type": "array", "items": record, "description": "One record a line, without brackets."}
                },
                "text/csv": {
                    "schema": {
                        "type": "string",
                        "pattern": rf"^({_CSV_RECORD}(\r?\n{_CSV_RECORD})*)?(\r?\n)*$",
                        "description": "`user_id[,top_n]` a line, without header.",
                        "examples": ["685,5\n302\n"],
                    }
                },
            },
        },
        "responses": {
            "200": {
                "description": "An answer for each record.",
                "content": {
                    "text/csv": {
                        "schema": {
                            "type": "string",
                            "description": "Rows `id,item_id,score`, without header, best first; where similar users "
                            "are asked for, `id,user_id,score`. A marked bad record is a row `id,ERROR,message`.",
                        }
                    },
                    "application/jsonlines": {
                        "schema": {
                            "type": "array",
                            "items": answer,
                            "description": "One answer a line, without brackets.",
                        }
                    },
                    "application/json": {
                        "schema": {
                            "anyOf": [answer, {"type": "array", "items": answer}],
                            "description": "One answer a line, without brackets: JSON where one record was sent.",
                        }
                    },
                },
            },
            "204": {"description": "The body holds no record."},
            **refusals(*_REFUSALS),
        },
    }


def _forms(fields: Mapping[str, Field]) -> str:
    """Say for each form which of some fields it has, as a list in Markdown."""
    lines = []
    for form in reversed(FORMS):
        for subject in form.subjects:
            needs = " and ".join(map(_code, form.needs_for(subject)))
            takes = (name for name in subject.takes + form.takes if name in fields)
            lines.append(f"* {form.wanted}: {needs}, with {', '.join(map(_code, takes))}")
    return "\n".join(lines)


def _request_schemas(fields: Mapping[str, Field], *, minimum: float) -> Iterator[tuple[str, JsonObject]]:
    records = {
        _title(form, subject): _record(form, subject, fields) for form in reversed(FORMS) for subject in form.subjects
    }
    yield "Record", {"oneOf": [_ref(title) for title in records]}
    yield from records.items()
    for name, field in fields.items():
        schema = field.kind.schema_from(minimum) if isinstance(field.kind, Likings) else field.kind.schema()
        yield name, {"description": field.meaning, "examples": [field.example], **schema}


def _title(form: Form, subject: Subject) -> str:
    """Name a schema after what is wanted and for whom: `Recommendations.user_id`."""
    wanted = form.wanted.title().replace(" ", "")
    return wanted if len(form.subjects) == 1 else f"{wanted}.{subject.needs[0]}"


def _record(form: Form, subject: Subject, fields: Mapping[str, Field]) -> JsonObject:
    """Return the schema of the records of a form that are for one kind of subject."""
    needs = form.needs_for(subject)
    properties = {name: _ref(name) for name in needs + subject.takes + form.takes if name in fields}
    for name, field in fields.items():
        # A wish that is off may always be there; one that makes the form has to be on.
        if field.kind.is_idle(False) and (name in needs or name not in properties):
            properties[name] = _ref(name) | one_position(name in needs)
    return _closed(properties, required=[*needs])


def _answer_schemas() -> Iterator[tuple[str, JsonObject]]:
    text, number = {"type": "string"}, {"type": "number"}
    columns = {
        "type": "object",
        "additionalProperties": text,
        "description": "Its columns in the channel `items`, where `titles` asks for them.",
    }
    yield "Answer", {"oneOf": [_ref("Recommendations"), _ref("SimilarUserList"), _ref("BadRecord")]}
    about = {
        "user_id": text,
        "sequence_id": text,
        "item_id": text,
        "known_user": {"const": False, "description": "Only there where the user is not one of the model's."},
        "known_item": {"const": False, "description": "Only there where the item is not one of the model's."},
        "ignored_items": {"type": "integer", "minimum": 1, "description": "Ids of the history that the model lacks."},
    }
    yield (
        "Recommendations",
        _closed({**about, "recommendations": {"type": "array", "items": _ref("Item")}}, required=["recommendations"]),
    )
    user = _closed({"user_id": text, "score": number}, required=["user_id", "score"])
    yield (
        "SimilarUserList",
        _closed({**about, "similar_users": {"type": "array", "items": user}}, required=["user_id", "similar_users"]),
    )
    yield (
        "Item",
        _closed(
            {
                "item_id": text,
                "score": {
                    "type": ["number", "null"],
                    "description": "What the items are ordered by. Models of ratings: the rating, count or value that "
                    "is expected, in the units of the training data; with a logistic loss the probability of a like. "
                    "Models of implicit feedback: a number that only orders. Similar items: the cosine. null for an "
                    "unknown one of `item_ids`.",
                },
                "predicted_label": {
                    "enum": [0, 1],
                    "description": "Only there where the score is a probability: 1 from 0.5 on.",
                },
                "item": columns,
                "baseline": {
                    **number,
                    "description": "What no item of the history explains. With all impacts it adds up to the score of "
                    "the user who is folded in from that history; to the log-odds of the score with a logistic loss, "
                    "to its logarithm with a Poisson loss.",
                },
                "own_impact": {**number, "description": "The item's own share, where it is in the history."},
                "because": {
                    "type": "array",
                    "items": _ref("Reason"),
                    "description": "Items of the history by impact, the largest first.",
                },
            },
            required=["item_id", "score"],
        ),
    )
    yield (
        "Reason",
        _closed(
            {
                "item_id": text,
                "influence": {**number, "description": "What one unit of the value that is fitted for it adds."},
                "impact": {**number, "description": "Its share: influence × the value that is fitted for it."},
                "item": columns,
            },
            required=["item_id", "influence", "impact"],
        ),
    )
    error = _closed(
        {
            "record": {"type": "integer", "minimum": 1, "description": "Its number within the request."},
            "field": {"type": ["string", "null"]},
            "value": {"type": ["string", "null"]},
            "message": text,
        },
        required=["record", "field", "value", "message"],
    )
    labels = {name: text for name in ("user_id", "sequence_id", "item_id")}
    yield (
        "BadRecord",
        {
            **_closed({**labels, "error": error}, required=["error"]),
            "description": "In place of the answer to a bad record, where `BAD_RECORDS=mark`.",
        },
    )


def _closed(properties: JsonObject, *, required: list[str]) -> JsonObject:
    """Return the schema of an object that has no other properties."""
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _ref(schema: str) -> JsonObject:
    return {"$ref": f"#/components/schemas/{schema}"}


def _code(name: str) -> str:
    return f"`{name}`"
