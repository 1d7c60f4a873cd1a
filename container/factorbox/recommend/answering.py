"""Queries answered, of all kinds in one call: what the server and the Python API stand on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from factorbox.data.rows import Rows
from factorbox.errors import UserError
from factorbox.models.network import NetworkProblem
from factorbox.models.row_system import FoldInProblem
from factorbox.recommend.answers import UNKNOWN_ITEM, Answers, Explanations
from factorbox.recommend.explanations import explain
from factorbox.recommend.fold_in import products_of
from factorbox.recommend.lists import Lists, ranges, starts_of
from factorbox.recommend.network_ranking import candidates_of
from factorbox.recommend.once import Once
from factorbox.recommend.queries import UNSAID, Kind, Queries, Query
from factorbox.recommend.similarity import by_cosine, inverse_norms
from factorbox.recommend.subjects import UNKNOWN, Resolved, Subjects, UserSide, resolve, subjects_of
from factorbox.recommend.top_n import Rankable, Ranked, Ranking, scores_of_pairs, top_n, top_n_of
from factorbox.recommend.traits import Misfit, Traits


class FittedModel(UserSide, Protocol):
    """What answers are made from (`factorbox.artifact.Artifact`)."""

    @property
    def item_factors(self) -> NDArray[np.float32]:
        """(items, d)."""
        ...

    @property
    def item_biases(self) -> NDArray[np.float32]:
        """(items,)."""
        ...

    @property
    def available(self) -> NDArray[np.bool_]:
        """(items,): what may be recommended."""
        ...

    @property
    def global_mean(self) -> float:
        """What every x̂ begins with."""
        ...

    @property
    def layers(self) -> Mapping[str, NDArray[np.float32]]:
        """Weights of a network by name; empty for a model whose x̂ is a dot product."""
        ...


class Answering:
    """Answers queries from a fitted model; used by all threads of a process.

    Nothing is computed before it is needed: a server forks after this is made, and a matrix product before the fork
    would make every product after it hang.

    Parameters
    ----------
    model
        The model.
    row_system
        Makes the problem that users are folded in by.
    traits
        What sets the model apart.
    """

    def __init__(self, model: FittedModel, *, row_system: Callable[[], FoldInProblem], traits: Traits) -> None:
        self.traits = traits
        self._model = model
        self._row_system = Once(row_system)
        self._seen_by_users = [rows for rows in (model.history, model.held_out) if rows is not None]
        self._items = Once(
            lambda: candidates_of(
                model.item_factors, item_biases=model.item_biases, layers=model.layers, available=model.available
            )
        )
        self._items_by_cosine = Once(lambda: by_cosine(model.item_factors, available=model.available))
        # Users without a history have the vector of the mean user: they are like everybody and nobody.
        self._users_by_cosine = Once(lambda: by_cosine(model.user_factors, available=model.history.counts > 0))

    def resolve(self, queries: Sequence[Query] | Queries) -> Resolved:
        """Look up the users, items and histories that queries name."""
        laid_out = queries if isinstance(queries, Queries) else Queries.of(queries)
        return resolve(laid_out, user_ids=self._model.user_ids, item_ids=self._model.item_ids, traits=self.traits)

    def misfit(self, query: Query) -> Misfit | None:
        """Return what of a query does not suit the model, None where all does."""
        return self.traits.misfit(query)

    @property
    def labels(self) -> bool:
        """Whether scores are probabilities, so that each row has a `predicted_label`."""
        return self.traits.labels

    def most_rows(self, resolved: Resolved) -> NDArray[np.int64]:
        """Return how many rows each answer may have.  # (queries,)."""
        n_users, n_items = len(self._model.user_ids), len(self._model.item_ids)

        def of(query: Query) -> int:
            if query.item_ids is not None:
                return len(query.item_ids)
            candidates = n_users if query.similar_users else n_items
            if query.include_items is not None:
                candidates = min(candidates, len(query.include_items))
            return min(query.top_n, candidates)

        rows = np.minimum(resolved.queries.top_n, n_items)
        for position, query in resolved.queries.others.items():
            rows[position] = of(query)
        return rows

    def history_lengths(self, resolved: Resolved) -> NDArray[np.int64]:
        """Return how many items at most each query's user is folded in and explained by.  # (queries,)."""
        return _lengths(self._model.history, resolved.users) + resolved.given.counts

    def seen_lengths(self, resolved: Resolved) -> NDArray[np.int64]:
        """Return how many items at most are left out as seen by each query's user.  # (queries,)."""
        held_out, trained = self._model.held_out, self.history_lengths(resolved)
        return trained if held_out is None else trained + _lengths(held_out, resolved.users)

    def fold_in_products(self, resolved: Resolved) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return about how many multiplications it takes to fold each query's user in; 0 where that is not done.

        Returns
        -------
        for_items, beside
            int64, (queries,) each: those that grow with the history, and those of any history.
        """
        if not len(resolved.given.indices):
            none = np.zeros(len(resolved.users), dtype=np.int64)
            return none, none
        folded = resolved.given.counts > 0
        products = products_of(self._row_system())
        return np.where(folded, self.history_lengths(resolved) * products.each, 0), folded * np.int64(products.beside)

    @property
    def embedding_dim(self) -> int:
        """The dimension of the factors."""
        return int(self._model.item_factors.shape[1])

    def answer(self, resolved: Resolved, *, exclude_seen: bool) -> Answers:
        """Answer queries of any kinds, each as if it were alone.

        Parameters
        ----------
        resolved
            The queries.
        exclude_seen
            Whether items that the user has are left out where a query does not say: those of the training, those
            held out of it, and those that the query gives.

        Raises
        ------
        AlgorithmError
            Where a history cannot be folded in.
        UserError
            Where an explanation is wanted of a model that has none; see `misfit`.
        """
        queries = resolved.queries
        counts = queries.column("explain")
        subjects = self.fold_in(resolved, with_histories=bool(counts.any()))
        answer_by: dict[Kind, Callable[[Resolved, Subjects, NDArray[np.int64]], Ranking]] = {
            "rank": partial(self._recommended, exclude_seen=exclude_seen),
            "pairs": self._pairs,
            "similar_items": self._similar_items,
            "similar_users": self._similar_users,
        }
        by_kind = queries.by_kind()
        parts = [(at, answer_by[kind](resolved, subjects, at)) for kind, at in by_kind.items()]
        ranking = _assembled(len(queries), parts)
        return Answers(
            queries=queries,
            known=resolved.known,
            ignored=resolved.ignored,
            ranking=self._shown(ranking, by_kind),
            explanations=self._explanations(queries, subjects, ranking, counts=counts),
        )

    def best_of_user(self, user: int, *, top_n: int, exclude_seen: bool) -> Ranking:
        """Return what `answer` gives one query which only names a user of the model, in a fraction of the time.

        Parameters
        ----------
        user
            Its index.
        top_n, exclude_seen
            As in a query.
        """
        model = self._model
        excluded = Lists.empty(1)
        if exclude_seen:
            seen = [rows.indices[rows.indptr[user] : rows.indptr[user + 1]] for rows in self._seen_by_users]
            # Copied also where it is one part: kernels are compiled for arrays that may be written to.
            indices = np.concatenate(seen)
            excluded = Lists(np.array([0, len(indices)], dtype=np.int64), indices)
        wanted = Ranked(
            model.user_factors[user : user + 1],
            self._with_mean(model.user_biases[user : user + 1]),
            np.array([top_n], dtype=np.int64),
        )
        ranking = self._items().rank_block(wanted, excluded=excluded)
        return ranking if self.traits.link == "identity" else replace(ranking, scores=self.traits.shown(ranking.scores))

    def scores(self, *, users: NDArray[np.int64], item_indices: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the score of each pair of user and item: the mean user's for `UNKNOWN`, NaN for a negative item."""
        model = self._model
        scores = np.empty(len(users), dtype=np.float32)
        known = users >= 0
        for at, factors, biases in (
            (known, model.user_factors, model.user_biases),
            (~known, model.mean_user_factors[None], model.mean_user_bias),
        ):
            scores[at] = scores_of_pairs(
                self._items(),
                user_factors=factors,
                user_biases=self._with_mean(biases),
                rows=np.maximum(users[at], 0),
                item_indices=item_indices[at],
            )
        return self.traits.shown(scores)

    def fold_in(self, resolved: Resolved, *, with_histories: bool = False) -> Subjects:
        """Return the vectors of the users of some queries, and where they are wanted the histories."""
        return subjects_of(
            resolved, side=self._model, problem=self._row_system, traits=self.traits, with_histories=with_histories
        )

    def _with_mean(self, biases: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return what a user adds to every x̂: b_u + μ."""
        return biases + np.float32(self._model.global_mean)

    def _shown(self, ranking: Ranking, by_kind: Mapping[Kind, NDArray[np.int64]]) -> Ranking:
        """Return the ranking with the scores of answers; cosines stay what they are."""
        if self.traits.link == "identity":
            return ranking
        counts = np.diff(ranking.indptr)
        of_queries = np.zeros(len(counts), dtype=np.bool_)
        for kind, at in by_kind.items():
            of_queries[at] = kind in ("rank", "pairs")
        predicted = np.repeat(of_queries, counts)
        return replace(ranking, scores=np.where(predicted, self.traits.shown(ranking.scores), ranking.scores))

    def _recommended(
        self, resolved: Resolved, subjects: Subjects, at: NDArray[np.int64], *, exclude_seen: bool
    ) -> Ranking:
        queries = resolved.queries.taken(at)
        excluding = np.where(queries.exclude_seen == UNSAID, exclude_seen, queries.exclude_seen).astype(np.bool_)
        seen = self._seen(resolved, at, excluding=excluding)
        excluded = _together(len(at), [*seen, *self._excluded_by_name(queries)])
        wanted = _wanted(subjects, at, biases=self._with_mean(subjects.biases), counts=queries.top_n)
        return self._ranking(self._items(), wanted, queries, excluded=excluded)

    def _seen(
        self, resolved: Resolved, at: NDArray[np.int64], *, excluding: NDArray[np.bool_]
    ) -> list[tuple[NDArray[np.int64], Lists]]:
        """Return positions within `at` and what the users there have: trained on, held out and given."""
        everybody = np.arange(len(at))
        users = np.where(excluding, resolved.users[at], UNKNOWN)
        parts = [(everybody, Lists.gathered(self._model.history, users))]
        if self._model.held_out is not None:
            parts.append((everybody, Lists.gathered(self._model.held_out, users)))
        if len(resolved.given.indices):
            parts.append((everybody, Lists.gathered(resolved.given, np.where(excluding, at, UNKNOWN))))
        return parts

    def _pairs(self, resolved: Resolved, subjects: Subjects, at: NDArray[np.int64]) -> Ranking:
        lists = [resolved.queries.others[position].item_ids or () for position in at.tolist()]
        indptr = starts_of(np.array([len(ids) for ids in lists], dtype=np.int64))
        # An unknown one keeps its place.
        items = self._model.item_ids.indices_of([item_id for ids in lists for item_id in ids]).astype(np.int32)
        scores = scores_of_pairs(
            self._items(),
            user_factors=subjects.factors,
            user_biases=self._with_mean(subjects.biases),
            rows=np.repeat(at, np.diff(indptr)),
            item_indices=items,
        )
        return Ranking(indptr, items, scores)

    def _similar_items(self, resolved: Resolved, subjects: Subjects, at: NDArray[np.int64]) -> Ranking:
        queries = resolved.queries.taken(at)
        items = resolved.items[at]
        factors = self._model.item_factors[items]
        return self._ranking(
            self._items_by_cosine(),
            _by_cosine(factors, np.where(items >= 0, queries.top_n, 0)),
            queries,
            excluded=_together(len(at), [(np.arange(len(at)), _itself(items)), *self._excluded_by_name(queries)]),
        )

    def _similar_users(self, resolved: Resolved, subjects: Subjects, at: NDArray[np.int64]) -> Ranking:
        known = self.history_lengths(resolved)[at] > 0
        counts = np.where(known, resolved.queries.top_n[at], 0)
        wanted = _by_cosine(subjects.factors[at], counts)
        return top_n(self._users_by_cosine(), wanted, excluded=_itself(resolved.users[at]))

    def _ranking(self, candidates: Rankable, wanted: Ranked, queries: Queries, *, excluded: Lists) -> Ranking:
        """Rank the candidates, or for the queries that list some, those alone."""
        listed = [position for position, query in queries.others.items() if query.include_items is not None]
        if not listed:
            return top_n(candidates, wanted, excluded=excluded)
        listing = np.zeros(len(queries), dtype=np.bool_)
        listing[listed] = True
        parts = []
        if not listing.all():
            free = np.flatnonzero(~listing)
            parts.append((free, top_n(candidates, wanted.part(free), excluded=excluded.taken(free))))
        bound = np.flatnonzero(listing)
        included = self._looked_up([queries.others[position].include_items or () for position in bound.tolist()])
        parts.append(
            (bound, top_n_of(candidates, wanted.part(bound), included=included, excluded=excluded.taken(bound)))
        )
        return _assembled(len(queries), parts)

    def _excluded_by_name(self, queries: Queries) -> list[tuple[NDArray[np.int64], Lists]]:
        """Return the positions of the queries with `exclude_items`, and those items."""
        others = queries.others.items()
        named = [(position, query.exclude_items) for position, query in others if query.exclude_items]
        positions = np.array([position for position, _ in named], dtype=np.int64)
        return [(positions, self._looked_up([ids for _, ids in named]))] if named else []

    def _looked_up(self, lists: Sequence[Sequence[str]]) -> Lists:
        """Return the indices of the items of some lists, without those that are unknown."""
        # A caller in Python gives one list for all users: it is looked up once.
        distinct = {id(ids): ids for ids in lists}
        indices = self._model.item_ids.indices_of([item_id for ids in distinct.values() for item_id in ids])
        owners = np.repeat(np.arange(len(distinct)), [len(ids) for ids in distinct.values()])
        known = indices >= 0
        found = Lists(starts_of(np.bincount(owners[known], minlength=len(distinct))), indices[known].astype(np.int32))
        places = {key: place for place, key in enumerate(distinct)}
        return found.taken(np.array([places[id(ids)] for ids in lists], dtype=np.int64))

    def _explanations(
        self, queries: Queries, subjects: Subjects, ranking: Ranking, *, counts: NDArray[np.int64]
    ) -> Explanations | None:
        if not counts.any():
            return None
        items = ranking
        similar_users = queries.column("similar_users").astype(np.bool_)
        if similar_users.any():
            # The rows of similar users hold no items.
            of_users = np.repeat(similar_users, np.diff(ranking.indptr))
            items = replace(ranking, item_indices=np.where(of_users, UNKNOWN_ITEM, ranking.item_indices))
        problem = self._row_system()
        if isinstance(problem, NetworkProblem):
            raise UserError(f"explain {self.traits.not_explained}")
        found = explain(problem, subjects=subjects, ranking=items, counts=counts)
        # Of a user without history nothing explains the score but what all users share.
        unexplained = (counts > 0) & (subjects.histories.counts == 0)
        rows = np.repeat(unexplained, np.diff(ranking.indptr))
        return replace(found, baselines=np.where(rows, ranking.scores, found.baselines))


def _lengths(rows: Rows, users: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how many entries the row of each user has, 0 for one that is unknown."""
    return np.where(users >= 0, rows.indptr[users + 1] - rows.indptr[users], 0)


def _together(requests: int, parts: Sequence[tuple[NDArray[np.int64], Lists]]) -> Lists:
    """Lay lists behind one another; the first part is for all requests."""
    first, *others = parts
    filled = [part for part in others if len(part[1].indices)]
    return Lists.joined(requests, [first, *filled]) if filled else first[1]


def _wanted(
    subjects: Subjects, at: NDArray[np.int64], *, biases: NDArray[np.float32], counts: NDArray[np.int64]
) -> Ranked:
    """Ask for the best of some subjects, which mostly are all."""
    if len(at) == len(subjects.factors):
        return Ranked(subjects.factors, biases, counts)
    return Ranked(subjects.factors[at], biases[at], counts)


def _itself(indices: NDArray[np.int64]) -> Lists:
    """Return for each query the one it is about, nothing where that is unknown."""
    known = indices >= 0
    return Lists(starts_of(known.astype(np.int64)), indices[known].astype(np.int32))


def _by_cosine(factors: NDArray[np.float32], counts: NDArray[np.int64]) -> Ranked:
    """Ask for what is like these vectors."""
    return Ranked(factors, np.zeros(len(factors), dtype=np.float32), counts, scales=inverse_norms(factors))


def _assembled(queries: int, parts: Sequence[tuple[NDArray[np.int64], Ranking]]) -> Ranking:
    """Put rankings of some of the queries each, at these positions, into one of all in order."""
    if len(parts) == 1:
        return parts[0][1]
    lengths = np.zeros(queries, dtype=np.int64)
    for positions, ranking in parts:
        lengths[positions] = np.diff(ranking.indptr)
    indptr = starts_of(lengths)
    item_indices = np.empty(indptr[-1], dtype=np.int32)
    scores = np.empty(indptr[-1], dtype=np.float32)
    for positions, ranking in parts:
        at = ranges(indptr[positions], np.diff(ranking.indptr))
        item_indices[at], scores[at] = ranking.item_indices, ranking.scores
    return Ranking(indptr, item_indices, scores)
