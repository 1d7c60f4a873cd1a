"""A model that answers: the Python API, on which the server stands too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from factorbox import artifact, frames
from factorbox.arguments import (
    GivenHistories,
    Id,
    Items,
    Users,
    id_texts,
    new_users_of,
    switch,
    users_of,
    whole_number,
)
from factorbox.data.ids import Ids
from factorbox.data.item_details import ItemDetails
from factorbox.data.rows import Rows
from factorbox.errors import PlatformError, UserError
from factorbox.models import ALGORITHMS
from factorbox.models.row_system import FoldInProblem
from factorbox.options import options_of
from factorbox.recommend.answering import Answering
from factorbox.recommend.answers import Answers
from factorbox.recommend.queries import DEFAULT_TOP_N, Query
from factorbox.recommend.traits import Traits

if TYPE_CHECKING:
    import pandas

# Queries of one block, and ids in the filters that these queries repeat.
_BLOCK_QUERIES = 1024
_BLOCK_FILTERS = 1 << 20


@dataclass(frozen=True, eq=False)
class FoldedIn:
    """The vectors of users who were not in training.

    Attributes
    ----------
    labels
        What each history was called, or its position as text.
    factors
        float32, (histories, d). But for `mlp`, item i is ranked by
        `global_mean + biases + item_biases[i] + factors @ item_factors[i]` (see `Recommender.global_mean`).
    biases
        float32, (histories,): what each user adds to every item, without the global mean; zeros where users of the
        model have none.
    ignored_items
        int64, (histories,): how many ids of each history the model does not know.
    """

    labels: Sequence[str]
    factors: NDArray[np.float32]
    biases: NDArray[np.float32]
    ignored_items: NDArray[np.int64]


class Recommender:
    """A fitted model; `factorbox.load` gives one.

    It answers what the server answers, by the same code, in pandas frames. Wherever ids are asked for, one or several
    can be given, as texts or as whole numbers, which stand for their decimal text. Ids are kept as they were written
    in the training data: read those with zeros in front as text (`dtype=str`), or `007` becomes 7.

    A user whom the model does not know, and of whom no history is known either, gets the ranking of the mean user; an
    item that it does not know gets no similar items and no score. `user_ids.indices_of(["7"])` is −1 for an unknown
    id.

    A `history` is a list of item ids, or a mapping of item id to weight; what the model does not know of it is
    ignored. Items of a list weigh 1 each and add up where repeated. To a model of ratings the values of a mapping are
    ratings, and a list names items that the user likes: each counts as the mean of such ratings in training.

    Given beside `user_ids`, `histories` is one history a user (None for none), or a mapping of user id to history, and
    adds to what the model has of that user; a given rating replaces the one that the model has. Given alone, it is
    about new users: a mapping of label to history, whose labels stand in the column `user_id`, or a list, in which
    positions are the labels. A pandas Series of lists is a mapping by its index.

    Scores of a model of ratings are in the unit of the ratings, or expected counts for the Poisson loss. For the
    logistic loss they are the probabilities of a like, and in frames `predicted_label` stands behind `score`: 1 where
    it is at least 0.5, otherwise 0.

    Arrays are views of mapped files. One object may be used by several threads.

    Attributes
    ----------
    user_ids, item_ids
        The ids of the training data in the order of the rows of the factors; `to_list()` lists them.
    history
        The interactions that the model was trained on, in rows by user: `indptr`, `indices` of items, `weights`. Users
        are folded in, and scores explained, by these.
    seen
        All that the users have, in the same form: `history`, and what a training with `refit=false` held out to
        measure the model by. Recommendations leave these out. It is `history` itself where nothing was held out.
    item_details
        The columns of the channel `items`; None where there was none.
    exclude_seen
        Whether recommendations leave out the items that a user has seen unless asked otherwise.
    manifest
        The content of manifest.json; where the training measured the model, `validation` and `learning_curve` tell of
        that.
    answering
        What answers queries; the server asks it.

    Examples
    --------
    Three users and four films:

    >>> import factorbox
    >>> model = factorbox.load("model")
    >>> model
    <Recommender: als, 3 users, 4 items, d=2>
    >>> model.user_ids.to_list(), model.item_ids.to_list()
    (['ann', 'bob', 'cleo'], ['alien', 'brazil', 'charade', 'diva'])

    Factors as a frame:

    >>> import pandas
    >>> pandas.DataFrame(model.item_factors, index=model.item_ids.to_list())
               0    1
    alien    1.0  0.0
    brazil   1.0  0.5
    charade  0.0  1.0
    diva     0.5  1.0
    """

    def __init__(self, model: artifact.Artifact) -> None:
        if model.manifest["algorithm"] not in ALGORITHMS:
            raise PlatformError(
                f"the model is of algorithm={model.manifest['algorithm']}, and this factorbox has"
                f" {', '.join(ALGORITHMS)}: serve it with the image that trained it, or a newer one"
            )
        self._model = model
        self.user_ids: Ids = model.user_ids
        self.item_ids: Ids = model.item_ids
        self.history: Rows = model.history
        self.item_details: ItemDetails | None = model.item_details
        self.manifest: Mapping[str, Any] = MappingProxyType(dict(model.manifest))
        self.exclude_seen: bool = bool(model.manifest["hyperparameters"].get("exclude_seen", True))
        self.answering = Answering(model, row_system=self._row_system, traits=self._traits())

    @classmethod
    def load(cls, folder: Path) -> Recommender:
        """Check and map a model folder; `factorbox.load` takes archives and S3 too.

        No product is run: a server forks after this, and a product before the fork makes every product after it
        hang.

        Raises
        ------
        PlatformError
            Where the folder holds no sound model, or one of an algorithm that is not known here.
        """
        return cls(artifact.load(folder))

    def __repr__(self) -> str:
        d = self._model.item_factors.shape[1]
        return f"<Recommender: {self.algorithm}, {len(self.user_ids):,} users, {len(self.item_ids):,} items, d={d}>"

    @property
    def artifact(self) -> artifact.Artifact:
        """The loaded model itself, for code that computes with its arrays; nothing may write to them."""
        return self._model

    @property
    def algorithm(self) -> str:
        """The algorithm that the model was trained by."""
        return str(self.manifest["algorithm"])

    @property
    def seen(self) -> Rows:
        """All that the users have: `history` and what was held out of the training, in rows by user."""
        return self._model.seen

    @property
    def user_factors(self) -> NDArray[np.float32]:
        """The vectors of the users, read-only; row r belongs to `user_ids[r]`.  # (users, d)."""
        return _read_only(self._model.user_factors)

    @property
    def item_factors(self) -> NDArray[np.float32]:
        """The vectors of the items, read-only; row r belongs to `item_ids[r]`.  # (items, d)."""
        return _read_only(self._model.item_factors)

    @property
    def user_biases(self) -> NDArray[np.float32]:
        """What each user adds to every score, read-only; zeros for models without biases.  # (users,)."""
        return _read_only(self._model.user_biases)

    @property
    def item_biases(self) -> NDArray[np.float32]:
        """What each item adds to every score, read-only; zeros for models without biases.  # (items,)."""
        return _read_only(self._model.item_biases)

    @property
    def available(self) -> NDArray[np.bool_]:
        """Whether each item may be recommended.  # (items,)."""
        return _read_only(self._model.available)

    @property
    def global_mean(self) -> float:
        """What every score begins with: 0 for models without biases and for implicit ones.

        For the squared loss it is the mean of the ratings.

        User u and item i are ranked by
        `global_mean + user_biases[u] + item_biases[i] + user_factors[u] @ item_factors[i]`, but for `mlp`, where a
        network takes the place of the product (`factorbox.models.network`). That is the score too, save for the
        logistic loss, whose score is its sigmoid, and for the Poisson loss, whose score is its exponential.
        """
        return self._model.global_mean

    @property
    def layers(self) -> Mapping[str, NDArray[np.float32]]:
        """The weights of the network of `mlp` by name, read-only; else empty.

        `factorbox.models.network.network_scores` is the plain arithmetic by which they make scores out of the factors.
        """
        return {name: _read_only(weights) for name, weights in self._model.layers.items()}

    def recommend(
        self,
        user_ids: Id | Iterable[Id] | None = None,
        *,
        histories: GivenHistories | None = None,
        top_n: int = DEFAULT_TOP_N,
        exclude_seen: bool | None = None,
        include_items: Id | Iterable[Id] | None = None,
        exclude_items: Id | Iterable[Id] = (),
        titles: bool = False,
    ) -> pandas.DataFrame:
        """Return the best items for users.

        Parameters
        ----------
        user_ids
            Who; None for the users that `histories` describes, and where there are none, for all users of the model.
        histories
            What to fold users in from.
        top_n
            How many items a user gets; fewer where fewer are left.
        exclude_seen
            Whether what the user has (`seen`, and `histories`) is left out; None for the model's own `exclude_seen`.
        include_items
            Only these items may be recommended; None for all.
        exclude_items
            These items are not recommended.
        titles
            Whether to add the columns of the channel `items`; one whose name is taken gets `item_` in front.

        Returns
        -------
        pandas.DataFrame
            `user_id`, `item_id`, `score` (float32): the users in the order given, for each the best item first. For
            the logistic loss also `predicted_label` (Int8).

        Raises
        ------
        UserError
            For something that is no id, no history or no number of items.

        Examples
        --------
        >>> import factorbox
        >>> model = factorbox.load("model")
        >>> model.recommend("ann", top_n=2)
          user_id  item_id  score
        0     ann     diva    0.7
        1     ann  charade    0.4

        Somebody new, of whom two films are known, and the titles beside the ids:

        >>> new = model.recommend(histories={"visitor": ["charade", "diva"]}, top_n=1, titles=True)
        >>> new[["user_id", "item_id", "title"]]
           user_id item_id          title
        0  visitor  brazil  Brazil (1985)

        Everybody's best film, seen or not:

        >>> model.recommend(top_n=1, exclude_seen=False)["item_id"].to_list()
        ['brazil', 'charade', 'diva']
        """
        return self._rankings(
            self._users(user_ids, histories),
            columns=("user_id", "item_id"),
            titles=titles,
            top_n=whole_number(top_n, place="top_n"),
            exclude_seen=None if exclude_seen is None else switch(exclude_seen, place="exclude_seen"),
            **_filters(include_items, exclude_items),
        )

    def explain(
        self,
        user_ids: Id | Iterable[Id] | None = None,
        *,
        item_ids: Id | Iterable[Id] | None = None,
        histories: GivenHistories | None = None,
        top_n: int = DEFAULT_TOP_N,
        k: int = 10,
        exclude_seen: bool | None = None,
        include_items: Id | Iterable[Id] | None = None,
        exclude_items: Id | Iterable[Id] = (),
        titles: bool = False,
    ) -> pandas.DataFrame:
        """Return what speaks for the items that users are recommended, or for given items: their own history.

        A score is the sum of `baseline`, `own_impact` and the impacts of all other items of the history, so for all
        of them set `k` to the length of the history or more. For `als`, `explicit` and `nmf` that sum is the score of
        the user, stored or folded in; for the sampled losses it is the score of the user folded in by the
        least-squares problem which stands in for the loss. For the logistic and the Poisson loss of `explicit` the sum
        is the logarithm of the odds, or of the count, whose sigmoid or exponential is the score.

        An impact is an influence times the value that the model fits. Implicit models fit 1 whatever the weight, so
        that influence and impact are equal. Of ratings, `nmf` fits each as it is, and `explicit` what the means and
        biases leave of it: of an item with a positive influence, a good rating has a positive impact and a bad one a
        negative impact. The algorithm `mlp` has no explanations.

        Parameters
        ----------
        user_ids, histories, top_n, exclude_seen, include_items, exclude_items
            As in `recommend`.
        item_ids
            Explain the scores of these items for each user, in this order, seen ones too; `top_n` and `exclude_seen`
            then have no effect.
        k
            How many items of the history to name as reasons for each item; fewer where there are fewer.
        titles
            Whether to add the columns of the channel `items`, those of the reason with `because_` in front.

        Returns
        -------
        pandas.DataFrame
            One row a reason, by impact from the largest to the most negative: `user_id`, `item_id`, `score`,
            `baseline` (the part of the score that no item explains), `own_impact` (that of the item itself, NaN where
            it is not in the history), `because_item_id`, `influence` and `impact`. An item for which there is no
            reason has one row without `because_item_id`.

        Raises
        ------
        UserError
            As in `recommend`, where filters stand beside `item_ids`, and for an algorithm without explanations.

        Examples
        --------
        >>> import factorbox
        >>> model = factorbox.load("model")
        >>> why = model.explain("ann", top_n=1, k=2)
        >>> why[["item_id", "because_item_id"]]
          item_id because_item_id
        0    diva          brazil
        1    diva           alien

        What adds up to the score of a new user's item:

        >>> why = model.explain(histories=[["alien", "diva"]], item_ids="brazil")
        >>> bool(abs(why["baseline"].iloc[0] + why["impact"].sum() - why["score"].iloc[0]) < 1e-5)
        True
        """
        if not self.answering.traits.explains:
            raise UserError(f"explain {self.answering.traits.not_explained}")
        filters = _filters(include_items, exclude_items)
        if item_ids is not None:
            if include_items is not None or filters["exclude_items"]:
                raise UserError("item_ids are explained as they stand: leave include_items and exclude_items out")
            filters = {"item_ids": id_texts(item_ids, place="item_ids")}
        details = self._details(titles)
        answers = self._answers(
            self._users(user_ids, histories),
            top_n=whole_number(top_n, place="top_n"),
            explain=whole_number(k, place="k"),
            exclude_seen=None if exclude_seen is None else switch(exclude_seen, place="exclude_seen"),
            **filters,
        )
        labelled = self.answering.labels
        return frames.framed(
            frames.reasons_table(part, item_ids=self.item_ids, details=details, labelled=labelled) for part in answers
        )

    def similar_items(
        self,
        item_ids: Id | Iterable[Id],
        *,
        top_n: int = DEFAULT_TOP_N,
        include_items: Id | Iterable[Id] | None = None,
        exclude_items: Id | Iterable[Id] = (),
        titles: bool = False,
    ) -> pandas.DataFrame:
        """Return the items whose factors have the largest cosine with those of an item, never the item itself.

        Parameters
        ----------
        item_ids
            Of which items; one that the model does not know has no rows.
        top_n, include_items, exclude_items, titles
            As in `recommend`.

        Returns
        -------
        pandas.DataFrame
            `item_id`, `similar_item_id`, `score`: the cosine, float32.

        Raises
        ------
        UserError
            For something that is no id or no number of items.

        Examples
        --------
        >>> import factorbox
        >>> factorbox.load("model").similar_items("alien", top_n=2)
          item_id similar_item_id     score
        0   alien          brazil  0.894427
        1   alien            diva  0.447214
        """
        return self._rankings(
            Items(id_texts(item_ids, place="item_ids")),
            columns=("item_id", "similar_item_id"),
            titles=titles,
            top_n=whole_number(top_n, place="top_n"),
            **_filters(include_items, exclude_items),
        )

    def similar_users(
        self,
        user_ids: Id | Iterable[Id],
        *,
        histories: GivenHistories | None = None,
        top_n: int = DEFAULT_TOP_N,
    ) -> pandas.DataFrame:
        """Return the users whose factors have the largest cosine with those of a user, never the user itself.

        Parameters
        ----------
        user_ids
            Of which users; one of whom nothing is known has no rows.
        histories
            What to add to the users' own histories.
        top_n
            How many users.

        Returns
        -------
        pandas.DataFrame
            `user_id`, `similar_user_id`, `score`: the cosine, float32.

        Raises
        ------
        UserError
            For something that is no id, no history or no number of users.

        Examples
        --------
        >>> import factorbox
        >>> factorbox.load("model").similar_users("ann", top_n=1)
          user_id similar_user_id     score
        0     ann            cleo  0.868243
        """
        return self._rankings(
            self._users(user_ids, histories),
            columns=("user_id", "similar_user_id"),
            top_n=whole_number(top_n, place="top_n"),
            similar_users=True,
        )

    def fold_in(self, histories: GivenHistories) -> FoldedIn:
        """Return the vectors of new users, worked out from what they like; nothing is stored.

        For `als`, `explicit` and `nmf` the history of a user of the training gives that user's own vector.

        Parameters
        ----------
        histories
            A mapping of label to history, or a list of histories. One of which the model knows nothing gives the
            mean user.

        Returns
        -------
        FoldedIn
            Labels, factors, biases and how many ids were ignored, a row a history.

        Raises
        ------
        UserError
            For something that is no history.

        Examples
        --------
        >>> import factorbox
        >>> model = factorbox.load("model")
        >>> new = model.fold_in({"visitor": {"alien": 2.0, "diva": 1.0}, "guest": ["metropolis"]})
        >>> new.factors.shape, new.labels, new.ignored_items.tolist()
        ((2, 2), ['visitor', 'guest'], [0, 1])
        >>> scores = new.factors @ model.item_factors.T + new.biases[:, None] + model.item_biases + model.global_mean
        """
        asked = new_users_of(histories, feedback=self.answering.traits.feedback)
        resolved = self.answering.resolve(asked.queries(0, len(asked.labels)))
        subjects = self.answering.fold_in(resolved)
        return FoldedIn(asked.labels, subjects.factors, subjects.biases, resolved.ignored)

    def predict(self, frame: pandas.DataFrame) -> pandas.Series:
        """Return the score of each pair of user and item, to the last bit the one that answers give.

        For a model of ratings that is what the user would rate the item, or the probability of a like.

        Parameters
        ----------
        frame
            One pair a row, in a user and an item column, found by name as in training (`user_id` and `item_id`, or
            what `user_column` and `item_column` of the training said). Other columns do not matter.

        Returns
        -------
        pandas.Series
            `score`, float32, with the frame's index. An unknown item has NaN; an unknown user is scored as the mean
            user.

        Raises
        ------
        UserError
            Where a column is missing, is there twice, or holds something that is no id.

        Examples
        --------
        >>> import factorbox
        >>> import pandas
        >>> pairs = pandas.DataFrame({"user_id": ["ann", "bob", "bob"], "item_id": ["diva", "diva", "metropolis"]})
        >>> pairs.assign(score=factorbox.load("model").predict(pairs))
          user_id     item_id  score
        0     ann        diva    0.7
        1     bob        diva    0.8
        2     bob  metropolis    NaN
        """
        pandas = frames.require_pandas()
        kept = self.manifest["hyperparameters"]
        users = frames.ids_in(frame, "user", named=kept.get("user_column"))
        items = frames.ids_in(frame, "item", named=kept.get("item_column"))
        scores = self.answering.scores(
            users=self.user_ids.indices_of(users.texts)[users.codes],
            item_indices=self.item_ids.indices_of(items.texts)[items.codes].astype(np.int32),
        )
        return pandas.Series(scores, index=frame.index, name="score")

    def warm_up(self) -> None:
        """Run the first product of this process."""
        self.answering.answer(self.answering.resolve([Query(user_id="", top_n=1)]), exclude_seen=False)

    def _config(self) -> Any:
        """Return the configuration of the training."""
        kept, config = self.manifest["hyperparameters"], ALGORITHMS[self.algorithm].config
        return config(**{name: kept[name] for name in options_of(config) if name in kept})

    def _row_system(self) -> FoldInProblem:
        return ALGORITHMS[self.algorithm].row_system(self._config(), self._model.item_side)

    def _traits(self) -> Traits:
        algorithm, config = ALGORITHMS[self.algorithm], self._config()
        return Traits(
            algorithm=algorithm.name,
            feedback=algorithm.feedback(config),
            link=algorithm.link(config),
            explains=algorithm.explains,
            listed_value=self._model.fold_in.get("listed_value", 1.0),
        )

    def _users(self, user_ids: Id | Iterable[Id] | None, histories: GivenHistories | None) -> Users:
        feedback = self.answering.traits.feedback
        if user_ids is not None:
            return users_of(user_ids, histories, feedback=feedback)
        if histories is not None:
            return new_users_of(histories, feedback=feedback)
        everybody = self.user_ids.to_list()
        return Users(everybody, [None] * len(everybody), named=True)

    def _details(self, titles: bool) -> ItemDetails | None:
        return self.item_details if switch(titles, place="titles") else None

    def _rankings(
        self, asked: Users | Items, *, columns: tuple[str, str], titles: bool = False, **wanted: Any
    ) -> pandas.DataFrame:
        ids = self.user_ids if "similar_users" in wanted else self.item_ids
        details = self._details(titles)
        answers = self._answers(asked, **wanted)
        labelled = self.answering.labels and columns == ("user_id", "item_id")
        return frames.framed(
            frames.ranking_table(part, columns=columns, ids=ids, details=details, labelled=labelled) for part in answers
        )

    def _answers(self, asked: Users | Items, **wanted: Any) -> Iterator[Answers]:
        """Ask the same about each of several users or items, in blocks: no more than the frame is ever held."""
        frames.require_pandas()
        for start, stop in _blocks(len(asked.labels), wanted):
            resolved = self.answering.resolve(asked.queries(start, stop, **wanted))
            yield self.answering.answer(resolved, exclude_seen=self.exclude_seen)


def _filters(include_items: Id | Iterable[Id] | None, exclude_items: Id | Iterable[Id]) -> dict[str, Any]:
    """Return both filters as fields of queries."""
    return {
        "include_items": None if include_items is None else id_texts(include_items, place="include_items"),
        "exclude_items": id_texts(exclude_items, place="exclude_items"),
    }


def _blocks(queries: int, wanted: Mapping[str, Any]) -> Iterator[tuple[int, int]]:
    """Cut queries into blocks, smaller ones where each repeats long lists of items; always at least one block."""
    repeated = sum(len(wanted.get(name) or ()) for name in ("include_items", "exclude_items", "item_ids"))
    size = max(1, min(_BLOCK_QUERIES, _BLOCK_FILTERS // max(1, repeated)))
    for start in range(0, max(1, queries), size):
        yield start, min(queries, start + size)


def _read_only(array: NDArray[Any]) -> NDArray[Any]:
    view = array.view()
    view.flags.writeable = False
    return view
