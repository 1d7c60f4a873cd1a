from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import factorbox
from factorbox.__main__ import main
from factorbox.commands.evaluate import evaluate_on
from factorbox.commands.wording import of_options
from factorbox.errors import UserError
from factorbox.recommender import Recommender
from film_model import save_films


@pytest.fixture
def films(tmp_path: Path) -> Recommender:
    """Return a model whose user_column is viewer."""
    return factorbox.load(save_films(tmp_path / "model"))


def refused(model: Recommender, data: Path, **reading: Any) -> str:
    with pytest.raises(UserError) as error:
        evaluate_on(model, data, reading=reading, threads=1)
    return str(error.value)


def test_a_column_that_the_command_names_is_told_by_its_option(films: Recommender, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("who,film\nann,diva\n")
    assert refused(films, data, user_column="whom") == (
        "no column 'whom' in data.csv, line 1, which --user-column names: found 'who', 'film'; did you mean 'who'?"
    )
    text = refused(films, data, user_column="who")
    assert "set --item-column" in text and "hyperparameter" not in text


def test_a_column_that_training_named_is_told_as_the_model_s(films: Recommender, tmp_path: Path) -> None:
    data = tmp_path / "data.csv"
    data.write_text("user_column,item_id\nann,diva\n")
    text = refused(films, data)
    assert "no column 'viewer' in data.csv, line 1, which the model's user_column names: found 'user_column'" in text
    assert text.endswith("; where these data are other than those of training, give --user-column")


def test_folders_are_no_channels(films: Recommender, tmp_path: Path) -> None:
    folder = tmp_path / "the channel"
    folder.mkdir()
    assert refused(films, folder).startswith("no data: the folder 'the channel' holds nothing; put into it CSV files")
    (folder / "notes.zip").write_bytes(b"PK\x03\x04" + bytes(99))
    assert "; the folder takes CSV files" in refused(films, folder)
    assert "training job" not in refused(films, tmp_path / "none")


def test_a_number_that_is_none_is_refused_with_what_goes(
    films: Recommender, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data.csv").write_text("viewer,item\nann,diva\n")
    assert main(["evaluate", str(tmp_path / "model"), str(tmp_path / "data.csv"), "--min-rating", "nan"]) == 2
    assert capsys.readouterr().err == (
        "factorbox: --min-rating=nan is out of range: give a value that is a finite number\n"
    )


@pytest.mark.parametrize(
    ("sentence", "given", "told"),
    [
        ("set the hyperparameter delimiter to ';'", [], "set --delimiter to ';'"),
        (
            "delimiter='ab' is no character: give a delimiter",
            ["delimiter"],
            "--delimiter='ab' is no character: give a delimiter",
        ),
        (
            "min_rating=3 needs weights; name one with the hyperparameter weight_column, or leave min_rating out",
            ["min_rating"],
            "--min-rating=3 needs weights; name one with --weight-column, or leave --min-rating out",
        ),
        (
            "min_rating=3 needs weights; name one with the hyperparameter weight_column, or leave min_rating out",
            [],
            "the model's min_rating=3 needs weights; name one with --weight-column; where these data are other than"
            " those of training, give --min-rating",
        ),
        (
            "remove the row, or set the hyperparameter min_rating to drop low values (not with filters=any);"
            " algorithm=explicit with loss=squared takes negative ratings",
            [],
            "remove the row, or set --min-rating to drop low values",
        ),
        (
            "found 'the channel', \"it's min_rating\"; the container's user has no min_rating.csv or a/min_rating",
            ["min_rating"],
            "found 'the channel', \"it's min_rating\"; the container's user has no min_rating.csv or a/min_rating",
        ),
    ],
)
def test_what_is_typed_is_told_and_what_is_quoted_stays(sentence: str, given: list[str], told: str) -> None:
    assert of_options(sentence, given=given) == told
