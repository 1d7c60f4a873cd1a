"""Work done by several threads at once, whose results are handed on in the order of the tasks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")


class OrderedWork(Generic[Task, Result]):
    """Threads that take a task, do it, and hand on whatever results are next.

    There is no thread beside the workers: who finishes the task that everyone waits for hands on the others' results
    too. A worker takes no task that is too far ahead, so that results do not pile up behind a slow one.

    Parameters
    ----------
    tasks
        Taken one by one; never by two threads at once.
    work
        Does one task; by several threads at once.
    deliver
        Takes the results in the order of their tasks; never by two threads at once, nor while a task is taken.
    discard
        Takes each result that is not delivered because of an error.
    workers
        The number of threads.
    """

    def __init__(
        self,
        tasks: Iterator[Task],
        *,
        work: Callable[[Task], Result],
        deliver: Callable[[Result], None],
        discard: Callable[[Result], None],
        workers: int,
    ) -> None:
        self._tasks = tasks
        self._work = work
        self._deliver = deliver
        self._discard = discard
        self._workers = workers
        self._ahead = 2 * workers
        self._taken = 0
        self._delivered = 0
        self._results: dict[int, Result] = {}
        self._changed = threading.Condition()
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do everything.

        Raises
        ------
        BaseException
            The first error of ``tasks``, ``work`` or ``deliver``, after which no task is begun.
        """
        helpers = [threading.Thread(target=self._run_worker, daemon=True) for _ in range(self._workers - 1)]
        for helper in helpers:
            helper.start()
        self._run_worker()
        for helper in helpers:
            helper.join()
        for result in self._results.values():
            self._discard(result)
        if self._error is not None:
            raise self._error

    def _run_worker(self) -> None:
        try:
            while self._do_one():
                pass
        except BaseException as error:
            with self._changed:
                self._error = self._error or error
                self._changed.notify_all()

    def _do_one(self) -> bool:
        # Each task is dropped with this call: it may be large, and the next one may be long in coming.
        if (numbered := self._take()) is None:
            return False
        number, task = numbered
        self._hand_on(number, self._work(task))
        return True

    def _take(self) -> tuple[int, Task] | None:
        with self._changed:
            while self._error is None and self._taken - self._delivered >= self._ahead:
                self._changed.wait()
            if self._error is not None:
                return None
            for task in self._tasks:
                self._taken += 1
                return self._taken - 1, task
            return None

    def _hand_on(self, number: int, result: Result) -> None:
        with self._changed:
            self._results[number] = result
            while self._error is None and self._delivered in self._results:
                self._deliver(self._results.pop(self._delivered))
                self._delivered += 1
            self._changed.notify_all()
