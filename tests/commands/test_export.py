"""Exported vectors: an inner product search over them ranks as the model does, whoever reads the files."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas
import pytest
from numpy.typing import NDArray

import factorbox
from factorbox import artifact
from factorbox.__main__ import main
from factorbox.commands.export import FILES, Format
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.models import ALGORITHMS
from factorbox.models.base import Factors
from film_model import FILM_FACTORS, FILMS, USER_FACTORS, USERS, pack, save_films
from support import CONTAINER, clustered_ratings

FORMATS: tuple[Format, ...] = get_args(Format)
STRANGE_IDS = ("007", "NA", "a,b", "two\nlines", '"quoted"', "null", "é😀", " ", "1e3", "\\n")
EXPORTABLE = [name for name in ALGORITHMS if name != "mlp"]
VARIANTS: list[dict[str, Any]] = [
    *({"algorithm": name} for name in EXPORTABLE),
    *({"algorithm": "explicit", "loss": loss} for loss in ("logistic", "poisson") if "explicit" in EXPORTABLE),
]


def export(model: Path, output: Path, *, format: Format) -> int:
    return main(["export", str(model), "--format", format, "--output", str(output)])


def read(folder: Path, *, format: Format) -> tuple[list[str], NDArray[np.float32], list[str], NDArray[np.float32]]:
    """Read an export as somebody without factorbox would."""
    if format == "npy":
        ids = [json.loads((folder / f"{side}_ids.json").read_text(encoding="utf-8")) for side in ("user", "item")]
        vectors = [np.load(folder / f"{side}_vectors.npy") for side in ("user", "item")]
        return ids[0], vectors[0], ids[1], vectors[1]
    users, items = (pandas.read_parquet(folder / f"{side}.parquet") for side in ("users", "items"))
    return (
        users["user_id"].to_list(),
        np.stack(users["vector"].to_list()),
        items["item_id"].to_list(),
        np.stack(items["vector"].to_list()),
    )


def fitted(folder: Path, **options: Any) -> Path:
    """Save a model of ratings, or of the same pairs, whose first ids are strange ones."""
    data = clustered_ratings(np.random.default_rng(5), n_users=40, n_items=30)
    data = Interactions(
        user_ids=Ids.from_texts([*STRANGE_IDS, *(f"u{k}" for k in range(30))]),
        item_ids=Ids.from_texts([*STRANGE_IDS, *(f"i{k}" for k in range(20))]),
        indptr=data.indptr,
        item_indices=data.item_indices,
        weights=data.weights,
    )
    name = options.pop("algorithm")
    algorithm = ALGORITHMS[name]
    if options.get("loss") == "logistic":
        options["like_above"] = 3.0
    config = algorithm.resolved(algorithm.config(embedding_dim=6, epochs=6, **options), interactions=data)
    factors = algorithm.fit(data, config=config, random_state=2)
    hyperparameters = {"algorithm": name, **vars(config)}
    artifact.save(
        folder,
        interactions=data,
        factors=factors,
        algorithm=name,
        hyperparameters=hyperparameters,
        metrics={},
    )
    return folder


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda options: "-".join(options.values()))
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fitted(tmp_path_factory.mktemp("fitted") / "model", **request.param)


@pytest.mark.parametrize("format", FORMATS)
def test_the_largest_inner_products_are_the_ranking_of_the_model(model: Path, tmp_path: Path, format: Format) -> None:
    assert export(model, tmp_path / "out", format=format) == 0
    user_ids, user_vectors, item_ids, item_vectors = read(tmp_path / "out", format=format)
    assert user_vectors.dtype == item_vectors.dtype == np.float32
    assert user_vectors.shape == (40, 7) and item_vectors.shape == (30, 7)
    assert set(STRANGE_IDS) < set(user_ids) and set(STRANGE_IDS) < set(item_ids)

    ranked = factorbox.load(model).recommend(user_ids, top_n=30, exclude_seen=False)
    products = user_vectors.astype(np.float64) @ item_vectors.astype(np.float64).T
    places = {item_id: place for place, item_id in enumerate(item_ids)}
    for row, (_, ranking) in enumerate(ranked.groupby("user_id", sort=False)):
        own = products[row, [places[item_id] for item_id in ranking["item_id"]]]
        assert len(own) == 30
        # In the model's order the products fall, up to the rounding of float32.
        assert (np.diff(own) <= 1e-5 * np.abs(products[row]).max()).all()
    # They differ by what the test would miss if they did not.
    assert np.ptp(products, axis=1).min() > 1e-3


def test_both_formats_hold_the_same(tmp_path: Path) -> None:
    model = save_films(tmp_path / "model")
    read_back = []
    for format in FORMATS:
        assert export(model, tmp_path / format, format=format) == 0
        read_back.append(read(tmp_path / format, format=format))
        assert {path.name for path in (tmp_path / format).iterdir()} == set(FILES[format])
    for user_ids, user_vectors, item_ids, item_vectors in read_back:
        assert (user_ids, item_ids) == (list(USERS), list(FILMS))
        np.testing.assert_array_equal(user_vectors, np.column_stack([USER_FACTORS, np.ones(3)]))
        np.testing.assert_array_equal(item_vectors, np.column_stack([FILM_FACTORS, np.zeros(4)]))


def test_more_rows_than_a_block_are_written_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = save_films(tmp_path / "model")
    for format in FORMATS:
        assert export(model, tmp_path / f"{format}-whole", format=format) == 0
        with monkeypatch.context() as patch:
            patch.setattr("factorbox.commands.export._BLOCK_ROWS", 3)
            assert export(model, tmp_path / f"{format}-blocks", format=format) == 0
        whole, blocks = (read(tmp_path / f"{format}-{name}", format=format) for name in ("whole", "blocks"))
        for one, other in zip(whole, blocks, strict=True):
            np.testing.assert_array_equal(one, other)


def test_unavailable_items_are_marked(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    loaded = artifact.load(save_films(folder))
    available = np.array([True, False, True, True])
    artifact.replace_available(folder, model=loaded, available=available)
    for format in FORMATS:
        assert export(folder, tmp_path / format, format=format) == 0
    assert np.load(tmp_path / "npy/item_available.npy").tolist() == available.tolist()
    assert pandas.read_parquet(tmp_path / "parquet/items.parquet")["available"].to_list() == available.tolist()


def test_an_archive_is_taken_as_well(tmp_path: Path) -> None:
    archive = pack(save_films(tmp_path / "model"), tmp_path / "model.tar.gz")
    assert export(archive, tmp_path / "out", format="npy") == 0
    assert read(tmp_path / "out", format="npy")[2] == list(FILMS)


def test_an_earlier_export_is_replaced_and_other_files_are_not_joined(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = save_films(tmp_path / "model"), tmp_path / "out"
    assert export(model, out, format="npy") == export(model, out, format="npy") == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    assert export(model, out, format="parquet") == 2
    error = capsys.readouterr().err
    assert "holds item_available.npy, item_ids.json, item_vectors.npy and 2 more" in error
    assert "give an empty folder" in error
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    (out / "notes.txt").write_text("mine")
    assert export(model, out, format="npy") == 2
    assert "holds notes.txt" in capsys.readouterr().err


def test_an_export_that_fails_leaves_the_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = save_films(tmp_path / "model"), tmp_path / "out"
    assert export(model, out, format="npy") == 0
    before = {path.name: path.read_bytes() for path in out.iterdir()}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("factorbox.commands.export.np.save", full)
    assert export(model, out, format="npy") == 2
    assert "No space left on device; free disk space" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before


def test_a_network_is_refused_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    artifact.save(
        tmp_path / "model",
        interactions=Interactions(
            user_ids=Ids.from_texts(["a"]),
            item_ids=Ids.from_texts(["b"]),
            indptr=np.array([0, 1]),
            item_indices=np.zeros(1, np.int32),
            weights=np.ones(1, np.float32),
        ),
        factors=Factors(
            user_factors=np.ones((1, 2), np.float32),
            item_factors=np.ones((1, 2), np.float32),
            user_biases=np.zeros(1, np.float32),
            item_biases=np.zeros(1, np.float32),
            epochs=1,
            train_loss=0.0,
            layers={"hidden_bias": np.zeros(2, np.float32)},
        ),
        algorithm="mlp" if "mlp" in ALGORITHMS else "als",
        hyperparameters={"alpha": 1.0},
        metrics={},
    )
    assert export(tmp_path / "model", tmp_path / "out", format="npy") == 2
    assert "ranks by a network, which is no inner product" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(SystemExit) as exit:
        export(save_films(tmp_path / "model"), tmp_path / "out", format="npy")
    assert exit.value.code == 2
    assert f"{tmp_path}/out is a file: give a folder" in capsys.readouterr().err


def test_an_empty_folder_name_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        main(["export", str(save_films(tmp_path / "model")), "--format", "npy", "--output", ""])
    assert "the name of the folder is empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("arguments", [[], ["exports"], ["export", "m"], ["export", "m", "--format", "csv"]])
def test_bad_arguments_exit_with_2_and_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(arguments)
    assert exit.value.code == 2
    assert "usage: python -m factorbox" in capsys.readouterr().err


def test_the_command_as_a_process(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "factorbox", *arguments],
            env={**os.environ, "PYTHONPATH": str(CONTAINER)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    model = save_films(tmp_path / "model")
    done = run("export", str(model), "--format", "npy", "--output", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("3 users and 4 items, 3 numbers each, in ")
    missing = run("export", str(tmp_path / "nothing"), "--format", "npy", "--output", str(tmp_path / "other"))
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr.startswith("factorbox: there is no ") and "Traceback" not in missing.stderr
