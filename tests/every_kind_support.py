"""The one contract of all models: a training job on ratings, and transform jobs over every kind of request."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from factorbox.models import ALGORITHMS
from factorbox_jobs_support import BUCKET, train, transform
from local_sagemaker import LocalSageMaker

ROWS = "\n".join(
    [
        "user_id,item_id,rating",
        *(f"u{u},i{(u * k + u // 7) % 11},{1 + (u * k) % 5}" for u in range(40) for k in range(1, 5)),
    ]
)
ITEMS = "\n".join(["item_id,title,available", *(f'i{i},"Film, {i}",{int(i != 3)}' for i in range(11))])
REQUESTS: list[dict[str, Any]] = [
    {"user_id": "u1", "top_n": "3"},
    {"user_id": "u1", "top_n": 20, "exclude_seen": "false"},
    {"user_id": "u2", "include_items": ["i1", "i2", "i3", "none"], "exclude_items": ["i2"], "exclude_seen": False},
    {"user_id": "u2", "include_items": []},
    {"user_id": "nobody", "top_n": 2},
    {"user_id": "u3", "history": ["i5", "i5", "unheard"], "top_n": 2},
    {"user_id": "a new one", "history": {"i5": 2}, "top_n": 2},
    {"sequence_id": "s, 1", "sequence": ["i5", "i6"], "top_n": 2},
    {"history": ["i7"], "top_n": 1},
    {"history": ["unheard"], "top_n": 1},
    {"user_id": "u4", "item_ids": ["i0", "unheard", "i0", "i3"]},
    {"item_id": "i2", "top_n": 4},
    {"item_id": "unheard"},
    {"user_id": "u5", "similar_users": True, "top_n": 2},
    {"user_id": "u6", "top_n": 2, "explain": 2, "titles": True},
    {"user_id": "u6", "item_ids": ["i6", "unheard"], "explain": 100},
    {"user_id": "u7", "top_n": 1, "titles": "true"},
    {"user_id": "u1", "top_n": 0},
]
BODY = "\n".join(json.dumps(request) for request in REQUESTS)
# Of these the sum of the impacts is the score itself: their stored users solve the very system of fold-in.
_EXACT = ("als", "explicit", "nmf")


def put_data(local: LocalSageMaker) -> None:
    """Upload the ratings and the items."""
    storage = local.client("s3")
    storage.put_object(Bucket=BUCKET, Key="training/rows.csv", Body=ROWS.encode())
    storage.put_object(Bucket=BUCKET, Key="items/items.csv", Body=ITEMS.encode())


def trained_model(local: LocalSageMaker, algorithm: str) -> str:
    """Run a training job and create its model; return its name."""
    name = f"kinds-{algorithm.replace('_', '-')}"
    train(local, name, channels=("training", "items"), algorithm=algorithm)
    return name


def check_json_lines_joined(local: LocalSageMaker, model: str, algorithm: str) -> None:
    """Answer all requests in a transform job that joins input and output."""
    status, output = transform(
        local,
        model,
        f"{model}-joined",
        BODY,
        DataProcessing={"JoinSource": "Input"},
        Environment={"BAD_RECORDS": "mark"},
    )
    assert status == "Completed"
    lines = [json.loads(line) for line in output.splitlines()]
    answers = [line.pop("SageMakerOutput") for line in lines]
    assert lines == REQUESTS
    items = [[row["item_id"] for row in answer.get("recommendations", [])] for answer in answers]
    assert len(items[0]) == 3
    assert sorted(items[1]) == sorted(f"i{i}" for i in range(11) if i != 3)
    assert items[2] == ["i1"]
    assert answers[3] == {"user_id": "u2", "recommendations": []}
    assert list(answers[4]) == ["user_id", "known_user", "recommendations"]
    assert list(answers[5]) == ["user_id", "ignored_items", "recommendations"]
    assert answers[5]["ignored_items"] == 1
    assert answers[6]["known_user"] is False
    assert answers[7]["sequence_id"] == "s, 1"
    assert not {"i5", "i6"} & {*items[7]}
    assert list(answers[8]) == ["recommendations"]
    assert answers[9]["ignored_items"] == 1
    assert len(items[9]) == 1
    assert items[10] == ["i0", "unheard", "i0", "i3"]
    assert [row["score"] is None for row in answers[10]["recommendations"]] == [False, True, False, False]
    assert len(items[11]) == 4
    assert not {"i2", "i3"} & {*items[11]}
    assert answers[12] == {"item_id": "unheard", "known_item": False, "recommendations": []}
    assert len(answers[13]["similar_users"]) == 2
    assert list(answers[13]["similar_users"][0]) == ["user_id", "score"]
    assert answers[16]["recommendations"][0]["item"]["title"].startswith("Film, ")
    assert answers[17]["error"]["field"] == "top_n"
    if not ALGORITHMS[algorithm].explains:
        for answer in answers[14:16]:
            assert answer["error"]["field"] == "explain"
            assert f"algorithm={algorithm}" in answer["error"]["message"]
        return
    for row in answers[14]["recommendations"]:
        assert list(row) == ["item_id", "score", "item", "baseline", "because"]
        assert row["item"] == {"title": f"Film, {row['item_id'][1:]}"}
        assert len(row["because"]) == 2
        assert list(row["because"][0]) == ["item_id", "influence", "impact", "item"]
    explained, unknown = answers[15]["recommendations"]
    assert list(unknown) == ["item_id", "score"]
    assert "own_impact" in explained
    if algorithm in _EXACT:
        total = explained["baseline"] + explained["own_impact"] + sum(r["impact"] for r in explained["because"])
        assert total == pytest.approx(explained["score"], rel=1e-4, abs=1e-4)


def check_csv(local: LocalSageMaker, model: str) -> None:
    """Answer all requests as CSV, in which those for explanations are marked as bad."""
    status, output = transform(
        local,
        model,
        f"{model}-csv",
        BODY,
        content_type="application/json",
        accept="text/csv",
        Environment={"BAD_RECORDS": "mark"},
    )
    assert status == "Completed"
    rows = list(csv.reader(io.StringIO(output)))
    assert {len(row) for row in rows} == {3}
    marked = [(row[0], row[2]) for row in rows if row[1] == "ERROR"]
    assert [label for label, _ in marked] == ["u6", "u6", "u1"]
    labels = [row[0] for row in rows if row[1] != "ERROR"]
    assert [label for k, label in enumerate(labels) if label != labels[k - 1]] == [
        *("u1", "u2", "nobody", "u3", "a new one", "s, 1", "", "u4", "i2", "u5", "u7")
    ]
    assert [row[1:] for row in rows if row[0] == "u4"][1] == ["unheard", ""]
    assert all(row[1].startswith("u") for row in rows if row[0] == "u5")
