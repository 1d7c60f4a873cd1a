"""The command `train` as a job sees it: what it leaves behind, in good cases and bad."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from factorbox import artifact
from factorbox.contract.memory import memory_in_use
from factorbox.models import ALGORITHMS
from factorbox.training import preparing
from factorbox.training import train as training
from factorbox.training.fitting import Fitting
from support import CONTAINER, clustered_interactions, clustered_ratings, make_base, run_train, stopped_after


def csv_of(*, n_users: int = 60, n_items: int = 40, header: str = "user_id,item_id") -> str:
    data = clustered_interactions(np.random.default_rng(3), n_users=n_users, n_items=n_items)
    rows = [f"{data.user_ids[u]},{data.item_ids[int(i)]}" for u in range(data.n_users) for i in data.items_of(u)]
    return "\n".join([header, *rows]) + "\n"


def rated_csv_of(*, n_users: int = 60, n_items: int = 40) -> str:
    data = clustered_ratings(np.random.default_rng(3), n_users=n_users, n_items=n_items)
    users = np.repeat(np.arange(data.n_users), data.by_user().counts)
    rows = [
        f"{data.user_ids[u]},{data.item_ids[i]},{rating:g}"
        for u, i, rating in zip(users.tolist(), data.item_indices.tolist(), data.weights.tolist(), strict=True)
    ]
    return "\n".join(["user_id,item_id,rating", *rows]) + "\n"


CSV = csv_of()
RATED_CSV = rated_csv_of()
QUICK = {"embedding_dim": "8", "epochs": "3"}


def train(base: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setenv("SAGEMAKER_BASE_DIR", str(base))
    return training.main()


def failure(base: Path) -> str:
    return (base / "output/failure").read_text()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_every_algorithm_leaves_a_model_and_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], algorithm: str
) -> None:
    base = make_base(tmp_path, files={"a.csv": RATED_CSV}, hyperparameters={**QUICK, "algorithm": algorithm})
    assert train(base, monkeypatch) == 0
    model = artifact.load(base / "model")
    assert model.manifest["algorithm"] == algorithm
    assert model.manifest["hyperparameters"]["embedding_dim"] == 8
    assert len(model.user_factors) == 60
    assert not (base / "output/failure").exists()
    requests = (base / "output/data/requests/part-0000.jsonl").read_text().splitlines()
    assert [json.loads(text)["user_id"] for text in requests] == model.user_ids.to_list()
    output = capsys.readouterr().out
    assert "users=60; items=40;" in output
    for epoch in (1, 2, 3):
        assert f"epoch={epoch}; train_loss=" in output


def test_no_hyperparameters_at_all_is_a_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_base(tmp_path, files={"a.csv": CSV})
    assert train(base, monkeypatch) == 0
    assert artifact.load(base / "model").manifest["algorithm"] == "als"


def test_file_names_folders_row_order_and_compression_do_not_change_a_byte(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header, *rows = CSV.splitlines()
    one = make_base(tmp_path / "one", files={"a.csv": CSV}, hyperparameters=QUICK)
    halves: dict[str, bytes | str] = {
        "z.csv": "\n".join([header, *rows[::-2]]),
        "deep/er/b.csv.gz": gzip.compress("\r\n".join([header, *rows[-2::-2], ""]).encode()),
        ".hidden.csv": "garbage",
        "_SUCCESS": "",
    }
    two = make_base(tmp_path / "two", files=halves, hyperparameters=QUICK)
    assert train(one, monkeypatch) == train(two, monkeypatch) == 0
    for path in (one / "model").iterdir():
        assert path.read_bytes() == (two / "model" / path.name).read_bytes(), path.name


def test_the_channel_of_items_is_kept_with_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = "movieId,title,available\ni0000,One,1\ni0003,007,0\nelsewhere,x,0\n"
    channels: list[dict[str, bytes | str]] = [{"a.csv": items}, {"deep/z.csv.gz": gzip.compress(items.encode())}]
    for k, files in enumerate(channels):
        base = make_base(tmp_path / str(k), files={"a.csv": CSV}, hyperparameters=QUICK, items=files)
        assert train(base, monkeypatch) == 0
    model = artifact.load(base / "model")
    assert np.flatnonzero(~model.available).tolist() == [3]
    assert model.item_details is not None
    assert [model.item_details.of(item) for item in (0, 1, 3)] == [{"title": "One"}, None, {"title": "007"}]
    said = capsys.readouterr().out
    assert (
        "item_files=1; item_rows=3; items_matched=2; items_without_row=38; unknown_items=1; unavailable_items=1;"
        in said
    )
    assert [re.findall(rf"(?:^|\s){name}=([0-9]+);", said)[-1] for name in ("rows", "items")] == ["600", "40"]
    for path in (tmp_path / "0/model").iterdir():
        assert path.read_bytes() == (tmp_path / "1/model" / path.name).read_bytes(), path.name


def test_unavailable_items_train_like_all_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_items = make_base(
        tmp_path / "with", files={"a.csv": CSV}, hyperparameters=QUICK, items={"a.csv": "item,available\ni0003,0\n"}
    )
    without = make_base(tmp_path / "without", files={"a.csv": CSV}, hyperparameters=QUICK, items={})
    assert train(with_items, monkeypatch) == train(without, monkeypatch) == 0
    for name in ("factors.safetensors", "users.arrow"):
        assert (with_items / "model" / name).read_bytes() == (without / "model" / name).read_bytes()
    assert not (with_items / "model/item_details.arrow").exists()
    assert artifact.load(without / "model").available.all()


def test_a_column_that_may_have_been_meant_as_available_is_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items: dict[str, bytes | str] = {"a.csv": "item_id,is_available\ni0003,0\n"}
    assert train(make_base(tmp_path, files={"a.csv": CSV}, hyperparameters=QUICK, items=items), monkeypatch) == 0
    assert "column is_available is kept as a text: name it available" in capsys.readouterr().out


def test_items_of_which_none_is_in_training_are_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    items = {"a.csv": "item_id,title\n0001,x\n"}
    base = make_base(tmp_path, files={"a.csv": CSV}, hyperparameters=QUICK, items=items)
    assert train(base, monkeypatch) == 0
    assert "no item of the channel items is in the training data" in capsys.readouterr().out
    assert artifact.load(base / "model").item_details is None


@pytest.mark.parametrize(
    ("items", "words"),
    [
        ("item_id,available\ni0001,maybe\n", "bad value 'maybe' in items/a.csv, line 2"),
        (
            "item_id,available\n" + "".join(f"i{k:04},0\n" for k in range(40)),
            "all 40 items of the model are unavailable",
        ),
    ],
    ids=["bad value", "none left"],
)
def test_a_bad_channel_of_items_ends_the_job_before_it_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], items: str, words: str
) -> None:
    base = make_base(tmp_path, files={"a.csv": CSV}, hyperparameters=QUICK, items={"a.csv": items})
    assert train(base, monkeypatch) == 1
    assert words in failure(base)
    assert "epoch=" not in capsys.readouterr().out
    assert not (base / "model/manifest.json").exists()


def test_write_requests_can_be_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_base(tmp_path, files={"a.csv": CSV}, hyperparameters={**QUICK, "write_requests": "False"})
    assert train(base, monkeypatch) == 0
    assert not (base / "output/data/requests").exists()


def test_ratings_as_weights_are_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"u{u},i{i},{1 + (u + i) % 5}\n" for u in range(20) for i in range(6))
    base = make_base(tmp_path, files={"a.csv": "user_id,item_id,rating\n" + rows}, hyperparameters=QUICK)
    assert train(base, monkeypatch) == 0
    output = capsys.readouterr().out
    assert "low ratings count as weak positives" in output and "min_rating" in output


def test_weights_that_a_sampled_loss_ignores_are_pointed_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"u{u},i{i},{1 + 7 * u}\n" for u in range(20) for i in range(6) if i != u % 6)
    data: dict[str, bytes | str] = {"a.csv": "user_id,item_id,total_interactions\n" + rows}
    base = make_base(tmp_path, files=data, hyperparameters={**QUICK, "algorithm": "bpr"})
    assert train(base, monkeypatch) == 0
    assert "the weights in column total_interactions are ignored" in capsys.readouterr().out


def test_ratings_train_a_model_of_ratings_without_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hyperparameters = {**QUICK, "algorithm": "explicit", "loss": "regression"}
    base = make_base(tmp_path, files={"a.csv": RATED_CSV}, hyperparameters=hyperparameters)
    assert train(base, monkeypatch) == 0
    assert "low ratings count as" not in capsys.readouterr().out
    manifest = artifact.load(base / "model").manifest
    assert manifest["hyperparameters"]["loss"] == "squared"


def test_a_schedule_of_learning_rates_decides_the_epochs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hyperparameters = {"embedding_dim": "4", "algorithm": "explicit", "learning_rate": "0.05x2,0.01x1"}
    base = make_base(tmp_path, files={"a.csv": RATED_CSV}, hyperparameters=hyperparameters)
    assert train(base, monkeypatch) == 0
    assert "stopped early" not in capsys.readouterr().out
    manifest = artifact.load(base / "model").manifest
    assert manifest["counts"]["epochs"] == manifest["hyperparameters"]["epochs"] == 3


def test_filters_say_what_each_and_what_all_of_them_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # Item i0 is rated by all, i1 by two who love it, i2 by two who do not.
    rows = [*(f"u{k},i0,3" for k in range(6)), "u0,i1,5", "u1,i1,5", "u2,i2,1", "u3,i2,1"]
    hyperparameters = {**QUICK, "min_item_interactions": "3", "min_item_mean_rating": "4", "filters": "any"}
    data: dict[str, bytes | str] = {"a.csv": "\n".join(["user_id,item_id,rating", *rows])}
    base = make_base(tmp_path, files=data, hyperparameters=hyperparameters)
    assert train(base, monkeypatch) == 0
    said = capsys.readouterr().out
    assert "filter=min_item_interactions; value=3; kept_pairs=6; kept_users=6; kept_items=1;" in said
    assert "filter=min_item_mean_rating; value=4; kept_pairs=2; kept_users=2; kept_items=1;" in said
    assert "filters=any; pairs=8; users=6; items=2;" in said
    # What a metric definition reads is what the model has, and not what was read.
    found = [re.findall(rf"(?:^|\s){name}=([0-9]+);", said)[-1] for name in ("pairs", "users", "items")]
    assert found == ["8", "6", "2"]
    model = artifact.load(base / "model")
    assert model.item_ids.to_list() == ["i0", "i1"]
    assert model.manifest["hyperparameters"]["filters"] == "any"


def test_min_rating_is_one_of_the_conditions_of_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = ["u0,i0,1", "u1,i0,1", "u0,i1,5", "u1,i2,1"]
    data: dict[str, bytes | str] = {"a.csv": "\n".join(["user_id,item_id,rating", *rows])}
    hyperparameters = {**QUICK, "min_rating": "4", "min_item_interactions": "2", "filters": "any"}
    base = make_base(tmp_path, files=data, hyperparameters=hyperparameters)
    assert train(base, monkeypatch) == 0
    assert "filters=any; pairs=3; users=2; items=2;" in capsys.readouterr().out
    assert artifact.load(base / "model").manifest["hyperparameters"]["min_rating"] == 4


BAD_JOBS: dict[str, tuple[dict[str, bytes | str], Any, str]] = {
    "no file": ({}, None, "training"),
    "empty file": ({"a.csv": ""}, None, "a.csv"),
    "only a header": ({"a.csv": "user_id,item_id\n"}, None, "no rows"),
    "header missing": ({"a.csv": "1,2\n3,4\n"}, None, "no header in a.csv, line 1"),
    "header misspelt": ({"a.csv": "usr_id,item_id\n1,2\n"}, None, "usr_id"),
    "two user columns": ({"a.csv": "user_id,customer_id,item_id\n1,2,3\n"}, None, "customer_id"),
    "too few fields": ({"a.csv": "user_id,item_id\n1,2\n3\n"}, None, "line 3"),
    "empty id": ({"a.csv": "user_id,item_id\n1,2\n,4\n"}, None, "line 3"),
    "weight abc": ({"a.csv": "user_id,item_id,weight\n1,2,abc\n"}, None, "'abc'"),
    "weight nan": ({"a.csv": "user_id,item_id,weight\n1,2,nan\n"}, None, "'nan'"),
    "weight inf": ({"a.csv": "user_id,item_id,weight\n1,2,inf\n"}, None, "'inf'"),
    "weight -1": ({"a.csv": "user_id,item_id,weight\n1,2,-1\n"}, None, "'-1'"),
    "binary": ({"a.csv": bytes(range(256)) * 40}, None, "a.csv"),
    "broken gzip": ({"a.csv.gz": gzip.compress(CSV.encode())[:-50]}, None, "a.csv.gz"),
    "one endless line": ({"a.csv": b"x" * 100_000_000}, None, "a.csv"),
    "hyperparameters no JSON": ({"a.csv": CSV}, "{epochs: 3}", "hyperparameters.json is not JSON"),
    "hyperparameters a list": ({"a.csv": CSV}, "[]", "hyperparameters.json holds no JSON object"),
    "unknown hyperparameter": ({"a.csv": CSV}, {"epoch": "3"}, "did you mean 'epochs'"),
    "bad value": ({"a.csv": CSV}, {"epochs": "many"}, "epochs='many' is not a whole number"),
    "no ratings": ({"a.csv": CSV}, {"algorithm": "explicit"}, "rating"),
    "a negative count": (
        {"a.csv": "user_id,item_id,rating\n1,2,-1\n"},
        {"algorithm": "explicit", "loss": "poisson"},
        "'-1' in a.csv",
    ),
    "a loss alone": ({"a.csv": CSV}, {"loss": "logistic"}, "give algorithm=explicit"),
    "filters keep nothing": ({"a.csv": CSV}, {"min_user_interactions": "999"}, "min_user_interactions=999"),
    "min_rating above all": ({"a.csv": "user_id,item_id,rating\n1,2,3\n"}, {"min_rating": "4"}, "min_rating=4"),
}


@pytest.mark.parametrize("case", BAD_JOBS)
def test_a_bad_job_fails_with_the_useful_sentence_first_and_saves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    files, hyperparameters, named = BAD_JOBS[case]
    base = make_base(tmp_path, files=files, hyperparameters=hyperparameters)
    assert train(base, monkeypatch) == 1
    assert named in failure(base)
    assert not failure(base).startswith("a fault of factorbox")
    assert not (base / "model/manifest.json").exists()
    captured = capsys.readouterr()
    assert failure(base).strip()[:200] in captured.out
    assert "Traceback" not in captured.out + captured.err


def test_no_channel_at_all_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert train(tmp_path, monkeypatch) == 1
    assert "training" in failure(tmp_path)


@pytest.mark.parametrize("rows", ["u,i\n", "u,i\nu,j\n", "u,i\nv,i\n"], ids=["one pair", "one user", "one item"])
def test_the_smallest_data_sets_give_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: str) -> None:
    base = make_base(tmp_path, files={"a.csv": "user_id,item_id\n" + rows})
    assert train(base, monkeypatch) == 0
    artifact.load(base / "model")


def test_a_job_that_cannot_fit_names_the_largest_dimension_that_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limit = memory_in_use() + 300 * 2**20
    monkeypatch.setattr(preparing, "memory_limit", lambda: limit)
    base = make_base(tmp_path, files={"a.csv": csv_of(n_users=3000)}, hyperparameters={"embedding_dim": "4000"})
    assert train(base, monkeypatch) == 1
    assert "training with embedding_dim=4000 needs about" in failure(base)
    fits = int(failure(base).split("set embedding_dim to ")[1].split()[0])
    assert 1 <= fits < 4000
    again = make_base(tmp_path / "again", files={"a.csv": csv_of()}, hyperparameters={"embedding_dim": str(fits // 2)})
    assert train(again, monkeypatch) == 0


def test_a_fault_of_ours_is_called_one_and_its_trace_is_in_the_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise KeyError("unexpected")

    monkeypatch.setattr(preparing, "read_interactions", broken)
    base = make_base(tmp_path, files={"a.csv": CSV})
    assert train(base, monkeypatch) == 1
    assert failure(base).startswith("a fault of factorbox: KeyError: 'unexpected'")
    assert "Traceback" not in failure(base)
    assert "Traceback" in capsys.readouterr().err


def test_the_reason_of_an_earlier_failure_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_base(tmp_path, files={"a.csv": CSV}, hyperparameters=QUICK)
    (base / "output").mkdir()
    (base / "output/failure").write_text("old")
    assert train(base, monkeypatch) == 0
    assert not (base / "output/failure").exists()


@pytest.mark.parametrize("moment", ["read_interactions", "_check_memory"])
def test_a_stop_before_training_ends_at_once_and_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    def stopped(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(60)

    monkeypatch.setattr(preparing, moment, stopped)
    base = make_base(tmp_path, files={"a.csv": CSV})
    assert train(base, monkeypatch) == 1
    assert failure(base) == "the job was stopped before its first epoch: nothing was saved\n"
    assert not (base / "model/manifest.json").exists()


@pytest.mark.parametrize("folder", ["model", "output/data"])
def test_a_folder_that_cannot_be_written_is_found_before_the_data_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    base = make_base(tmp_path, files={"a.csv": "not,a\nheader"})
    (base / folder).parent.mkdir(exist_ok=True)
    (base / folder).write_text("a file where the folder should be")
    assert train(base, monkeypatch) == 1
    assert re.match(r"cannot write to .*: File exists; make it a folder that this user may write", failure(base))


def test_memory_that_torch_could_not_get_is_no_fault_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def exhausted(*_: object, **__: object) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Fitting, "fit", exhausted)
    base = make_base(tmp_path, files={"a.csv": CSV})
    assert train(base, monkeypatch) == 1
    assert failure(base).startswith("the job ran out of memory")
    assert "Traceback" not in capsys.readouterr().err


def test_long_values_leave_room_for_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = ({"epochs": "x" * 100_000}, {"y" * 3000: "1"}, {"algorithm": "z" * 100_000}, {"epochs": "9" * 5000})
    for number, hyperparameters in enumerate(jobs):
        base = make_base(tmp_path / str(number), files={"a.csv": CSV}, hyperparameters=hyperparameters)
        assert train(base, monkeypatch) == 1
        assert len(failure(base)) < 400
        assert re.search("is not a whole number|did you mean|give one of|is out of range", failure(base))


def test_requests_of_an_earlier_training_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = make_base(tmp_path, files={"a.csv": CSV}, hyperparameters=QUICK)
    assert train(base, monkeypatch) == 0
    parts = base / "output/data/requests"
    (parts / "part-0007.jsonl").write_text("old")
    assert train(base, monkeypatch) == 0
    assert [path.name for path in parts.iterdir()] == ["part-0000.jsonl"]
    (base / "input/config/hyperparameters.json").write_text('{"write_requests": "false", "epochs": "1"}')
    assert train(base, monkeypatch) == 0
    assert list(parts.iterdir()) == []


def test_the_command_trains_as_a_process_of_its_own(tmp_path: Path) -> None:
    base = make_base(tmp_path, files={"a.csv": CSV}, hyperparameters=QUICK)
    done = run_train(base)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert artifact.load(base / "model").manifest["counts"]["epochs"] == 3


def test_sigterm_saves_the_model_as_it_stands_and_exits_with_0(tmp_path: Path) -> None:
    base = make_base(tmp_path, files={"a.csv": CSV}, hyperparameters={"epochs": "100000"})
    rest = stopped_after("epoch=3;", base)
    assert "SIGTERM" in rest and "stopped early" in rest
    assert 3 <= artifact.load(base / "model").manifest["counts"]["epochs"] < 100_000


def test_sigterm_before_training_begins_fails_without_a_trace(tmp_path: Path) -> None:
    base = make_base(tmp_path, files={"a.csv": CSV})
    process = subprocess.Popen(
        [sys.executable, str(CONTAINER / "train")],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert "Traceback" not in output + errors
    assert process.returncode in (0, 1)
    if process.returncode == 0:
        # The machine was quick enough for a first epoch: then there is a model.
        artifact.load(base / "model")
