"""The description at /openapi.json, and schemathesis, which asks the server whatever it describes, and the opposite."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
import schemathesis

from factorbox.recommend.queries import Query
from factorbox.recommend.traits import Traits
from factorbox.serving import console, openapi
from factorbox.serving.fields import FIELDS, JsonObject
from factorbox.serving.forms import FORMS
from factorbox.serving.json_payload import parse_json
from factorbox.serving.media_types import FORMATS
from factorbox.serving.queries import BadRecord
from serving.saved_models import save_variant
from serving.small_model import ALS, LOGISTIC, MLP, NMF, SQUARED
from serving.test_server import Running, running
from support import make_base, run_train

TESTS = Path(__file__).resolve().parent.parent

# The examples of the fields are among the ids.
USERS = ["685", *map(str, range(12))]
ITEMS = ["50", "181", "286", "268", "302", *map(str, range(12))]


@pytest.fixture(scope="module")
def document() -> JsonObject:
    return openapi.description(ALS, more_paths=console.PATHS)


def validator(document: JsonObject, name: str) -> jsonschema_rs.Validator:
    """Return what checks a value against one schema of the document."""
    return jsonschema_rs.validator_for({**document, "$ref": f"#/components/schemas/{name}"})


def test_the_document_is_openapi(document: JsonObject) -> None:
    schemathesis.openapi.from_dict(document).validate()


def test_a_reference_leads_to_a_schema_and_every_schema_is_referred_to(document: JsonObject) -> None:
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))

    assert referred == set(document["components"]["schemas"])


def test_its_fields_are_those_of_a_request_in_the_same_words(document: JsonObject) -> None:
    schemas = document["components"]["schemas"]
    records = [schemas[choice["$ref"].rpartition("/")[2]] for choice in schemas["Record"]["oneOf"]]

    assert {name for record in records for name in record["properties"]} == set(FIELDS)
    assert [schemas[name]["description"] for name in FIELDS] == [field.meaning for field in FIELDS.values()]
    assert len(records) == sum(len(form.subjects) for form in FORMS)


def test_its_content_types_are_those_of_requests_and_answers(document: JsonObject) -> None:
    post = document["paths"]["/invocations"]["post"]

    assert set(post["requestBody"]["content"]) == set(post["responses"]["200"]["content"]) == set(FORMATS)


@pytest.mark.parametrize(
    "record",
    [
        {"user_id": 685, "top_n": "5", "exclude_seen": False},
        {"user_id": "a", "history": {"b": 2.5}, "explain": 3, "titles": True},
        {"sequence_id": "s", "sequence": [], "include_items": [], "exclude_items": ["c"]},
        {"history": ["a", 1], "item_ids": ["c"], "similar_users": False},
        {"user_id": "a", "similar_users": "true", "top_n": 3, "titles": "False"},
        {"item_id": "a", "titles": True},
        {},
        {"top_n": 5},
        {"user_id": "a", "item_id": "b"},
        {"user_id": "a", "item_ids": ["b"], "top_n": 5},
        {"user_id": "a", "similar_users": True, "titles": True},
        {"user_id": "a", "history": ["b"], "sequence_id": "s", "sequence": []},
        {"sequence": ["a"]},
        {"user_id": None},
        {"user_id": "a", "colour": "red"},
        {"user_id": "a", "top_n": 0},
        {"user_id": "a", "history": {"b": 0}},
        {"user_id": "a", "history": {"": 1}},
        {"user_id": "a", "item_ids": ["b", ""]},
    ],
    ids=json.dumps,
)
def test_a_record_fits_the_schema_where_it_is_a_query(document: JsonObject, record: JsonObject) -> None:
    (read,) = parse_json(json.dumps(record).encode()).listed()

    good = isinstance(read, Query) and ALS.misfit(read) is None
    assert validator(document, "Record").is_valid(record) is good


@pytest.mark.parametrize(
    ("traits", "record", "fits"),
    [
        (ALS, {"history": {"b": 0}}, False),
        (NMF, {"history": {"b": 0}}, True),
        (NMF, {"history": {"b": -1}}, False),
        (SQUARED, {"history": {"b": -1}}, True),
        (SQUARED, {"sequence_id": "s", "sequence": {"b": "-1.5"}}, True),
        (SQUARED, {"user_id": "a", "explain": 3}, True),
        (MLP, {"user_id": "a", "explain": 3}, False),
        (MLP, {"history": ["a"], "item_ids": ["a"], "explain": 3}, False),
        (MLP, {"user_id": "a", "titles": True}, True),
    ],
)
def test_the_schema_of_a_record_is_that_of_the_model_that_is_served(
    traits: Traits, record: JsonObject, fits: bool
) -> None:
    assert validator(openapi.description(traits), "Record").is_valid(record) is fits


@pytest.mark.parametrize("traits", [ALS, SQUARED, LOGISTIC, NMF, MLP], ids=str)
def test_the_document_of_every_model_is_openapi_without_loose_ends(traits: Traits) -> None:
    document = openapi.description(traits)

    schemathesis.openapi.from_dict(document).validate()
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)))
    assert referred == set(document["components"]["schemas"])
    assert ("`explain`" in document["paths"]["/invocations"]["post"]["description"]) is traits.explains


def test_of_all_sets_of_fields_exactly_those_that_make_a_query_fit_the_schema(document: JsonObject) -> None:
    fits = validator(document, "Record").is_valid
    for size in range(len(FIELDS) + 1):
        for names in itertools.combinations(FIELDS, size):
            record = {name: FIELDS[name].example for name in names}
            (read,) = parse_json(json.dumps(record).encode()).listed()
            assert fits(record) is not isinstance(read, BadRecord), names


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        ({"user_id": "a", "recommendations": [{"item_id": "b", "score": 0.5}]}, True),
        ({"user_id": "a", "recommendations": [{"item_id": "b", "score": 0.5, "predicted_label": 1}]}, True),
        ({"user_id": "a", "recommendations": [{"item_id": "b", "score": 0.5, "predicted_label": 2}]}, False),
        ({"item_id": "a", "known_item": False, "recommendations": []}, True),
        ({"ignored_items": 2, "recommendations": [{"item_id": "b", "score": None}]}, True),
        ({"user_id": "a", "similar_users": [{"user_id": "b", "score": 0.5}]}, True),
        ({"error": {"record": 1, "field": None, "value": None, "message": "record 1: is bad"}}, True),
        ({"user_id": "a", "recommendations": [{"item_id": "b"}]}, False),
        ({"user_id": "a", "known_user": True, "recommendations": []}, False),
        ({"user_id": "a"}, False),
    ],
)
def test_the_schema_of_an_answer_says_what_may_be_there(document: JsonObject, answer: Any, fits: bool) -> None:
    assert validator(document, "Answer").is_valid(answer) is fits


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like /opt/ml with a model trained with titles; one item is not available."""
    rows = [(user, item) for u, user in enumerate(USERS) for i, item in enumerate(ITEMS) if (u * i + u + i) % 3 == 0]
    base = make_base(
        tmp_path_factory.mktemp("openapi"),
        files={"interactions.csv": "user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in rows)},
        hyperparameters={"embedding_dim": "4", "epochs": "3"},
    )
    items = base / "input/data/items"
    items.mkdir()
    titles = "".join(f'{item},"Film, {item}",{int(item != "302")}\n' for item in ITEMS[:-2])
    (items / "items.csv").write_text("item_id,title,available\n" + titles)
    finished = run_train(base)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return base


@pytest.fixture(scope="module")
def server(base: Path) -> Iterator[Running]:
    with running(base, MODEL_SERVER_WORKERS="1") as started:
        yield started


@pytest.fixture(scope="module")
def marking_server(base: Path) -> Iterator[Running]:
    with running(base, MODEL_SERVER_WORKERS="1", BAD_RECORDS="mark", UNKNOWN_USERS="error") as started:
        yield started


def fuzz(server: Running, folder: Path, *, accept: str, without: str = "", phases: str = "") -> None:
    """Let schemathesis ask for all operations, always the same; all of its checks have to pass but those left out."""
    options = [*(["--exclude-checks", without] if without else []), *(["--phases", phases] if phases else [])]
    finished = subprocess.run(
        [
            *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run"),
            f"http://127.0.0.1:{server.port}/openapi.json",
            *("--checks", "all", "--generation-deterministic", "--max-examples", "60", "--continue-on-failure"),
            # A busy machine is no failure.
            *("--request-timeout", "60", "--suppress-health-check", "all"),
            *("--no-color", "--header", f"Accept: {accept}", *options),
        ],
        cwd=folder,
        env={**os.environ, "SCHEMATHESIS_HOOKS": "serving.fuzzing_hooks", "PYTHONPATH": str(TESTS)},
        capture_output=True,
        text=True,
        timeout=500,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr
    tested = re.search(r"Tested: ([0-9]+)", finished.stdout)
    generated = re.search(r"([0-9]+) generated", finished.stdout)
    # All but GET /openapi.json, where it has the document from.
    assert tested and int(tested[1]) == len(openapi.description(ALS, more_paths=console.PATHS)["paths"]) - 1
    assert generated and int(generated[1]) > 100


def test_every_answer_in_json_is_described(server: Running, tmp_path: Path) -> None:
    fuzz(server, tmp_path, accept="application/json")


def test_every_answer_in_csv_is_described(server: Running, tmp_path: Path) -> None:
    # A record with `explain` is a good one in JSON only.
    fuzz(server, tmp_path, accept="text/csv", without="positive_data_acceptance", phases="examples,fuzzing")


def test_every_answer_with_marks_is_described(marking_server: Running, tmp_path: Path) -> None:
    # Bad records and unknown users get a mark in an answer with status 200.
    fuzz(
        marking_server,
        tmp_path,
        accept="application/jsonlines",
        without="negative_data_rejection",
        phases="examples,fuzzing",
    )


@pytest.mark.parametrize("variant", ["explicit, logistic", "mlp"])
def test_every_answer_of_other_kinds_of_models_is_described(variant: str, tmp_path: Path) -> None:
    save_variant(tmp_path / "model", variant)

    with running(tmp_path, MODEL_SERVER_WORKERS="1") as server:
        fuzz(server, tmp_path, accept="application/json", phases="examples,fuzzing")


def test_the_served_document_is_that_of_the_code(server: Running) -> None:
    status, body = server.get("/openapi.json")

    assert (status, json.loads(body)) == (200, openapi.description(ALS, more_paths=console.PATHS))
