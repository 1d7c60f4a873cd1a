from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from local_sagemaker.ordered_work import OrderedWork


@given(st.integers(0, 40), st.integers(1, 6))
def test_results_come_in_the_order_of_the_tasks(count: int, workers: int) -> None:
    delivered: list[int] = []
    OrderedWork(
        iter(range(count)),
        work=lambda task: task * task,
        deliver=delivered.append,
        discard=lambda _result: None,
        workers=workers,
    ).run()
    assert delivered == [number * number for number in range(count)]


def test_work_is_done_at_once_and_a_slow_task_is_not_run_away_from() -> None:
    # Tasks 1 to 7 are done while task 0 waits; 8 is too far ahead of it.
    others = threading.Barrier(3)
    delivered: list[int] = []
    taken: list[int] = []
    begun = threading.Event()

    def tasks() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    def work(task: int) -> int:
        if task == 0:
            assert begun.wait(20)
            assert max(taken) <= 7
        elif task <= 3:
            others.wait(20)
            begun.set()
        return task

    work_ = OrderedWork(
        tasks(),
        work=work,
        deliver=delivered.append,
        discard=lambda _result: None,
        workers=4,
    )
    work_.run()
    assert delivered == list(range(20))


@pytest.mark.parametrize("workers", [1, 4])
@pytest.mark.parametrize("where", ["tasks", "work", "deliver"])
def test_the_first_error_ends_everything_and_what_is_left_is_discarded(where: str, workers: int) -> None:
    done: list[int] = []
    delivered: list[int] = []
    discarded: list[int] = []

    def fail_at(place: str, task: int) -> None:
        if place == where and task == 5:
            raise ValueError("five")

    def tasks() -> Iterator[int]:
        for number in range(1000):
            fail_at("tasks", number)
            yield number

    def work(task: int) -> int:
        fail_at("work", task)
        done.append(task)
        return task

    def deliver(task: int) -> None:
        fail_at("deliver", task)
        delivered.append(task)

    work_ = OrderedWork(tasks(), work=work, deliver=deliver, discard=discarded.append, workers=workers)
    with pytest.raises(ValueError, match="five"):
        work_.run()
    assert delivered == list(range(len(delivered)))
    assert sorted(done) == sorted(delivered + discarded + ([5] if where == "deliver" else []))
    assert len(done) < 30
