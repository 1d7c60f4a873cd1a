"""The straight way of one plain record: the bytes of the way of a whole payload."""

from __future__ import annotations

import json
from typing import get_args

import numpy as np
import pytest

from answering_support import VARIANTS
from factorbox import artifact
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.splits import Pairs
from factorbox.models.base import Factors
from factorbox.recommender import Recommender
from factorbox.serving.invocations import Invocations
from factorbox.serving.media_types import Format
from factorbox.serving.settings import Settings
from factorbox.serving.single_record import SingleRecords
from serving.saved_models import save_variant

FORMATS: tuple[Format, ...] = get_args(Format)


class Both:
    """A model asked by the straight way and, with that one barred, by the other."""

    def __init__(self, model: Recommender, monkeypatch: pytest.MonkeyPatch, settings: Settings | None = None) -> None:
        self.model, self._monkeypatch = model, monkeypatch
        self._invocations = Invocations(model, settings=settings or Settings())

    def answers(self, body: bytes, request_format: Format, answer_format: Format) -> tuple[bytes, bytes, bool]:
        """Return both answers, and whether the straight way took the body."""
        taken: list[bool] = []
        straight = SingleRecords.answer

        def noted(single: SingleRecords, body: bytes, **formats: Format) -> bytes | None:
            answer = straight(single, body, **formats)
            taken.append(answer is not None)
            return answer

        def ask() -> bytes:
            answer = self._invocations.answer(body, request_format=request_format, answer_format=answer_format)
            assert answer is not None
            return b"".join(answer)

        with self._monkeypatch.context() as patch:
            patch.setattr(SingleRecords, "answer", noted)
            ours = ask()
            patch.setattr(SingleRecords, "answer", lambda single, body, **formats: None)
            return ours, ask(), taken == [True]


@pytest.fixture(scope="module", params=VARIANTS)
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    folder = tmp_path_factory.mktemp("model")
    save_variant(folder, request.param)
    return Recommender.load(folder)


@pytest.mark.parametrize("answer_format", FORMATS)
def test_a_plain_record_is_answered_by_the_same_bytes_for_models_of_every_kind(
    saved: Recommender, answer_format: Format, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Both(saved, monkeypatch)
    for user_id in saved.user_ids.to_list():
        for record in (
            {"user_id": user_id},
            {"user_id": user_id, "top_n": "3"},
            {"user_id": user_id, "top_n": 100, "exclude_seen": False},
        ):
            ours, other, straight = both.answers(json.dumps(record).encode(), "json", answer_format)
            assert straight
            assert ours == other
        ours, other, straight = both.answers(f"{user_id},4\n".encode(), "csv", answer_format)
        assert straight
        assert ours == other


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """Ids that need escaping, items that are held out or unavailable, and a user who has seen everything."""
    rng = np.random.default_rng(3)
    users, items = Ids.from_texts(["a", 'b"c', "d,e", "f\ng", "ü\\", "user_id"]), Ids.from_texts(["1", '2"', "3,", "é"])
    interactions = Interactions(
        user_ids=users,
        item_ids=items,
        indptr=np.array([0, 4, 5, 6, 7, 8, 8]),
        item_indices=np.array([0, 1, 2, 3, 1, 2, 3, 0], dtype=np.int32),
        weights=np.ones(8, dtype=np.float32),
    )
    factors = Factors(
        user_factors=rng.standard_normal((6, 3), dtype=np.float32),
        item_factors=rng.standard_normal((4, 3), dtype=np.float32),
        user_biases=rng.standard_normal(6, dtype=np.float32),
        item_biases=rng.standard_normal(4, dtype=np.float32),
        epochs=1,
        train_loss=0.5,
        global_mean=0.25,
    )
    folder = tmp_path_factory.mktemp("odd") / "model"
    artifact.save(
        folder,
        interactions=interactions,
        factors=factors,
        algorithm="bpr",
        hyperparameters={"epochs": 1},
        metrics={},
        available=np.array([True, True, True, False]),
        held_out=Pairs(
            user_indices=np.array([1, 2]),
            item_indices=np.array([2, 0], dtype=np.int32),
            weights=np.ones(2, dtype=np.float32),
        ),
    )
    return Recommender.load(folder)


@pytest.mark.parametrize("trailing_newline", [False, True])
@pytest.mark.parametrize("answer_format", FORMATS)
def test_odd_ids_and_short_answers_come_as_the_same_bytes(
    odd: Recommender, answer_format: Format, trailing_newline: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = Both(odd, monkeypatch, Settings(trailing_newline=trailing_newline))
    for user_id in odd.user_ids.to_list():
        for start in ("", "\ufeff"):
            body = (start + json.dumps({"user_id": user_id}, ensure_ascii=False) + "\n \n").encode()
            ours, other, straight = both.answers(body, "json", answer_format)
            assert ours == other
            assert straight == (not {'"', "\\", "\n"} & set(user_id))


@pytest.mark.parametrize(
    "body",
    [
        b'{"user_id": "nobody"}',
        b'{"user_id": "a", "explain": 1, "titles": true}',
        b'{"user_id": "a", "top_n": 101}',
        b'{"user_id": "a"}\n{"user_id": "a"}',
        b'{"user_id": "' + b"a" * 1024 + b'"}',
        b'[{"user_id": "a"}]',
        b'{"item_id": "1"}',
    ],
    ids=lambda body: body[:24].decode(),
)
def test_whatever_is_not_plain_goes_the_other_way(
    odd: Recommender, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, other, straight = Both(odd, monkeypatch).answers(body, "json", "json")
    assert ours == other
    assert not straight


def test_the_header_of_a_csv_body_is_no_user(odd: Recommender) -> None:
    invocations = Invocations(odd, settings=Settings())
    assert invocations.answer(b"user_id", request_format="csv", answer_format="csv") is None
