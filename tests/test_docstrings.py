"""Examples are run: those of the docstrings beside the model that they ask, and the one of the README."""

from __future__ import annotations

import ast
import doctest
import re
import shutil
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

import factorbox
import readme_tables
from factorbox import recommender
from factorbox.recommender import Recommender
from film_model import pack, save_films
from support import run_train


@pytest.mark.parametrize("module", [factorbox, recommender], ids=lambda module: module.__name__)
def test_the_examples_give_what_they_show(
    module: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pack(save_films(tmp_path / "model"), tmp_path / "model.tar.gz")
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0, capsys.readouterr().out


def test_load_and_every_question_to_a_model_have_an_example() -> None:
    questions = [
        getattr(Recommender, name)
        for name in ("recommend", "explain", "similar_items", "similar_users", "fold_in", "predict")
    ]
    assert all(">>> " in (documented.__doc__ or "") for documented in (factorbox.load, Recommender, *questions))


def test_every_line_of_the_readmes_python_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = readme_tables.README.read_text(encoding="utf-8")
    (block,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    base = tmp_path / "local_test/test_dir"
    shutil.copytree(readme_tables.TOP / "local_test/test_dir/input", base / "input")
    trained = run_train(base)
    assert trained.returncode == 0, trained.stderr
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    answers = []
    for statement in ast.parse(block).body:
        if isinstance(statement, ast.Expr):
            answers.append(eval(ast.unparse(statement), names))
        else:
            exec(ast.unparse(statement), names)
    assert [list(answer) for answer in answers[:4] if isinstance(answer, pd.DataFrame)] == [
        ["user_id", "item_id", "score"],
        ["user_id", "item_id", "score"],
        ["user_id", "item_id", "score", "baseline", "own_impact", "because_item_id", "influence", "impact"],
        ["item_id", "similar_item_id", "score"],
    ]
    recommended, visitor, why, similar, predicted, factors = answers
    assert recommended["user_id"].to_list() == ["ada"] * 3 + ["ben"] * 3
    assert not {"trowel", "whisk"} & set(visitor["item_id"])
    assert why["because_item_id"].notna().sum() == 3
    assert len(similar) == 5
    assert predicted.notna().all()
    assert factors.loc["trowel"].notna().all()
