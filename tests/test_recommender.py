"""The Python API: seen items, the mean user, and the same answers however requests are grouped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from factorbox import artifact
from factorbox.errors import PlatformError
from factorbox.models.als import ALS, ALSConfig
from factorbox.recommend.top_n import Ranking
from factorbox.recommender import MEAN_USER, Recommender
from support import clustered_interactions

INTERACTIONS = clustered_interactions(np.random.default_rng(5), n_users=80, n_items=40)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recommender") / "model"
    artifact.save(
        folder,
        interactions=INTERACTIONS,
        factors=ALS().fit(INTERACTIONS, config=ALSConfig(embedding_dim=8, epochs=5), random_state=1),
        algorithm="als",
        hyperparameters={"exclude_seen": False},
        metrics={},
    )
    return folder


def ask(recommender: Recommender, users: list[int], *, count: int = 10, exclude_seen: bool = True) -> Ranking:
    return recommender.top_n(
        np.array(users, dtype=np.int64),
        counts=np.full(len(users), count, dtype=np.int64),
        exclude_seen=np.full(len(users), exclude_seen),
    )


def test_seen_items_are_left_out_when_asked(folder: Path) -> None:
    recommender = Recommender.load(folder)
    found = ask(recommender, list(range(80)), count=1000)
    for user in range(80):
        items = found.item_indices[found.indptr[user] : found.indptr[user + 1]]
        assert sorted([*items, *INTERACTIONS.items_of(user)]) == list(range(40))


def test_seen_items_are_kept_when_not_asked_away(folder: Path) -> None:
    found = ask(Recommender.load(folder), [3], count=1000, exclude_seen=False)
    assert sorted(found.item_indices) == list(range(40))
    assert set(found.item_indices[:5]) & set(INTERACTIONS.items_of(3))


def test_each_request_has_its_own_count_and_its_own_exclusion(folder: Path) -> None:
    found = Recommender.load(folder).top_n(
        np.array([0, 0, MEAN_USER]), counts=np.array([2, 100, 3]), exclude_seen=np.array([True, False, True])
    )
    assert list(np.diff(found.indptr)) == [2, 40, 3]
    assert not set(found.item_indices[:2]) & set(INTERACTIONS.items_of(0))


def test_the_mean_user_is_ranked_by_the_mean_of_all_users(folder: Path) -> None:
    model = artifact.load(folder)
    expected = model.user_factors.astype(np.float64).mean(axis=0) @ model.item_factors.T.astype(np.float64)
    found = ask(Recommender(model), [MEAN_USER], count=40)
    np.testing.assert_allclose(found.scores, np.sort(expected)[::-1], atol=1e-6)


def test_a_user_alone_and_among_others_gets_the_same_bytes(folder: Path) -> None:
    recommender = Recommender.load(folder)
    together = ask(recommender, [5, MEAN_USER, 17, 5])
    alone = [ask(recommender, [user]) for user in (5, MEAN_USER, 17, 5)]
    assert together.scores.tobytes() == b"".join(ranking.scores.tobytes() for ranking in alone)
    assert together.item_indices.tobytes() == b"".join(ranking.item_indices.tobytes() for ranking in alone)


def test_no_requests_give_no_answers(folder: Path) -> None:
    assert list(ask(Recommender.load(folder), []).indptr) == [0]


def test_the_default_of_exclude_seen_comes_from_the_manifest(folder: Path) -> None:
    assert Recommender.load(folder).exclude_seen is False


def test_loading_runs_nothing_and_warming_up_runs_a_product(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # A product before a server forks makes every product after it hang.
    import torch

    calls: list[str] = []
    original = torch.mm

    def counting(*arguments: object, **keywords: object) -> object:
        calls.append("mm")
        return original(*arguments, **keywords)  # type: ignore[call-overload]

    monkeypatch.setattr(torch, "mm", counting)
    recommender = Recommender.load(folder)
    assert not calls
    recommender.warm_up()
    assert calls


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlatformError, match="no model in"):
        Recommender.load(tmp_path)
