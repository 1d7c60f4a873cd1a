"""The inner loops of the sampled losses on the processor: pairs laid out by cell, and one cell's steps.

A cell is the pairs of some users with some items (`factorbox.models.sampled_blocks`). Its pairs are visited user by
user, so that a user's row stays in cache and the items seen are marked once. Each pair takes a step by itself:

    g_u = a_i h_i + a_j h_j + λ w_u,   g_i = a_i w_u + λ h_i,   g_j = a_j w_u + λ h_j

with the slopes a_i, a_j of the loss by x̂_ui and x̂_uj, each followed by a step of row-wise Adagrad
(`factorbox.models.adagrad`). mean(g²), of which that needs the sum, follows from six dot products of the three rows,
so that one pass over them reads and a second writes.
"""

from __future__ import annotations

import math

import numpy as np

from factorbox.kernels import kernel
from factorbox.models.row_vectors import prefetch_row, product_of_two, products_of_three, step_of_three

BPR, HINGE, POINTWISE = 0, 1, 2
"""The losses by the number that `train_cell` takes."""

BIAS, FACTOR_SQUARES, BIAS_SQUARES, REST = 0, 1, 2, 4
"""Columns of what stands beside each vector: the bias, s of the vector and s of the bias (one column is room), and how
many there are."""

_TRIES = 16
"""Draws after which a user's unseen items are counted out instead, since they are few."""


@kernel()
def _next_state(state):  # type: ignore[no-untyped-def]
    """Return the next state of a generator (Steele, Lea, Flood 2014, "SplitMix"): a Weyl sequence."""
    return state + np.uint64(0x9E3779B97F4A7C15)


@kernel()
def _below(state, bound):  # type: ignore[no-untyped-def]
    """Return a number in [0, bound) from a generator's state; its bias is below bound / 2³²."""
    z = state
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return np.int64(((z >> np.uint64(32)) * np.uint64(bound)) >> np.uint64(32))


@kernel()
def draw_unseen(state, marks, unseen):  # type: ignore[no-untyped-def]
    """Draw an item that is not marked, of which there are `unseen` > 0; return it and the generator's state."""
    for _ in range(_TRIES):
        state = _next_state(state)
        drawn = _below(state, len(marks))
        if not marks[drawn]:
            return drawn, state
    state = _next_state(state)
    rank = _below(state, unseen)
    for item in range(len(marks)):
        if not marks[item]:
            if rank == 0:
                return item, state
            rank -= 1
    return 0, state


@kernel()
def arrange(first, last, indptr, item_indices, block_of_item, place_of_item, pair_users, pair_places, edges):  # type: ignore[no-untyped-def]
    """Lay the pairs of the users `first:last` out by the block of the item, in each block in order of the users.

    Parameters
    ----------
    first, last
        The range of users.
    indptr, item_indices
        The interactions.
    block_of_item, place_of_item
        (items,): the block that an item is in, and its place there.
    pair_users, pair_places
        int32, (pairs,): receive the user of each pair and the place of its item, at the positions that the pairs of
        these users have in `item_indices`.
    edges
        int64, (blocks + 1,): receives where each block begins, and where the last ends.
    """
    n_blocks = len(edges) - 1
    for block in range(n_blocks + 1):
        edges[block] = 0
    for pair in range(indptr[first], indptr[last]):
        edges[block_of_item[item_indices[pair]] + 1] += 1
    edges[0] = indptr[first]
    for block in range(n_blocks):
        edges[block + 1] += edges[block]
    following = edges[:-1].copy()
    for user in range(first, last):
        for pair in range(indptr[user], indptr[user + 1]):
            item = item_indices[pair]
            block = block_of_item[item]
            position = following[block]
            following[block] = position + 1
            pair_users[position] = user
            pair_places[position] = place_of_item[item]


@kernel()
def train_cell(  # type: ignore[no-untyped-def]
    start,
    stop,
    pair_users,
    pair_places,
    items,
    user_factors,
    item_factors,
    user_rest,
    item_rest,
    loss,
    candidates,
    learning_rate,
    regularization,
    seed,
    totals,
):
    """Take a step for each pair of a cell that something can be set against.

    Parameters
    ----------
    start, stop
        The range of the cell's pairs, which are sorted by user.
    pair_users, pair_places
        The user of each pair, and the place of its item among those of the block.
    items
        int32, (items of the block,): the indices of the block's items by their places.
    user_factors, item_factors, user_rest, item_rest
        float32, (rows, d) and (rows, REST): updated.
    loss
        One of the numbers above.
    candidates
        How many unseen items are drawn for each pair, the highest scored of which counts.
    learning_rate, regularization
        lr and λ.
    seed
        State of the cell's generator, uint64.
    totals
        float64, (2,): receives the sum of the losses before each step, and the number of pairs visited.
    """
    state = seed
    n_block = len(items)
    marks = np.zeros(n_block, dtype=np.bool_)
    drawn = np.empty(max(n_block, candidates), dtype=np.int32)
    lr, penalty = np.float64(learning_rate), np.float64(regularization)
    width = np.float64(user_factors.shape[1])
    total, visited = 0.0, 0
    begin = start
    while begin < stop:
        user = pair_users[begin]
        end = begin + 1
        while end < stop and pair_users[end] == user:
            end += 1
        unseen = n_block - (end - begin)
        if unseen == 0:
            begin = end
            continue
        for pair in range(begin, end):
            marks[pair_places[pair]] = True
        if candidates == 1:
            for pair in range(begin, end):
                place, state = draw_unseen(state, marks, unseen)
                drawn[pair - begin] = items[place]
                prefetch_row(item_factors, items[place])
                prefetch_row(item_factors, items[pair_places[pair]])
        for pair in range(begin, end):
            i = np.int64(items[pair_places[pair]])
            bias_u, bias_i = np.float64(user_rest[user, BIAS]), np.float64(item_rest[i, BIAS])
            if candidates == 1:
                j = np.int64(drawn[pair - begin])
            else:
                for candidate in range(candidates):
                    place, state = draw_unseen(state, marks, unseen)
                    drawn[candidate] = items[place]
                    prefetch_row(item_factors, items[place])
                j = np.int64(drawn[0])
                best = -np.inf
                for candidate in range(candidates):
                    other = np.int64(drawn[candidate])
                    score = product_of_two(user_factors, user, item_factors, other) + item_rest[other, BIAS]
                    if score > best:
                        best = score
                        j = other
            bias_j = np.float64(item_rest[j, BIAS])
            wi, wj, ij, ww, ii, jj = products_of_three(user_factors, user, item_factors, i, j)
            x_ui = np.float64(wi) + bias_u + bias_i
            x_uj = np.float64(wj) + bias_u + bias_j
            if loss == BPR:
                margin = x_ui - x_uj
                e = math.exp(-abs(margin))
                total += math.log(1.0 + e) + max(-margin, 0.0)
                a_j = (1.0 if margin <= 0.0 else e) / (1.0 + e)
                a_i = -a_j
            elif loss == POINTWISE:
                e_i, e_j = math.exp(-abs(x_ui)), math.exp(-abs(x_uj))
                total += math.log((1.0 + e_i) * (1.0 + e_j)) + max(-x_ui, 0.0) + max(x_uj, 0.0)
                a_i = -(1.0 if x_ui <= 0.0 else e_i) / (1.0 + e_i)
                a_j = (1.0 if x_uj >= 0.0 else e_j) / (1.0 + e_j)
            else:
                value = 1.0 - x_ui + x_uj
                a_j = 0.0
                # Written so that NaN counts.
                if not value <= 0.0:
                    a_j = 1.0
                    total += value
                a_i = -a_j
            visited += 1

            wi_, wj_, ij_ = np.float64(wi), np.float64(wj), np.float64(ij)
            ww_, ii_, jj_ = np.float64(ww), np.float64(ii), np.float64(jj)
            squares_u = (
                a_i * a_i * ii_
                + a_j * a_j * jj_
                + 2.0 * a_i * a_j * ij_
                + 2.0 * penalty * (a_i * wi_ + a_j * wj_)
                + penalty * penalty * ww_
            )
            squares_i = a_i * a_i * ww_ + 2.0 * penalty * a_i * wi_ + penalty * penalty * ii_
            squares_j = a_j * a_j * ww_ + 2.0 * penalty * a_j * wj_ + penalty * penalty * jj_
            rate_u = _rate(user_rest, user, FACTOR_SQUARES, squares_u / width, lr)
            rate_i = _rate(item_rest, i, FACTOR_SQUARES, squares_i / width, lr)
            rate_j = _rate(item_rest, j, FACTOR_SQUARES, squares_j / width, lr)
            step_of_three(
                user_factors,
                user,
                item_factors,
                i,
                j,
                (
                    np.float32(1.0 - rate_u * penalty),
                    np.float32(-rate_u * a_i),
                    np.float32(-rate_u * a_j),
                    np.float32(1.0 - rate_i * penalty),
                    np.float32(-rate_i * a_i),
                    np.float32(1.0 - rate_j * penalty),
                    np.float32(-rate_j * a_j),
                ),
            )
            _step_bias(item_rest, i, a_i + penalty * bias_i, lr)
            _step_bias(item_rest, j, a_j + penalty * bias_j, lr)
            if loss == POINTWISE:
                _step_bias(user_rest, user, a_i + a_j + penalty * bias_u, lr)
        for pair in range(begin, end):
            marks[pair_places[pair]] = False
        begin = end
    totals[0] = total
    totals[1] = visited


@kernel()
def _rate(rest, row, column, square, learning_rate):  # type: ignore[no-untyped-def]
    """Add mean(g²) to s and return lr / √s; 0 where s is still 0."""
    # The sum of products that cancel may come out a little below 0.
    added = np.float64(rest[row, column]) + max(square, 0.0)
    rest[row, column] = added
    return learning_rate / math.sqrt(added) if added != 0.0 else 0.0


@kernel()
def _step_bias(rest, row, gradient, learning_rate):  # type: ignore[no-untyped-def]
    rest[row, BIAS] -= _rate(rest, row, BIAS_SQUARES, gradient * gradient, learning_rate) * gradient
