from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from moto.logs.models import logs_backends

from local_sagemaker.logs import TRAINING_GROUP, LogStream
from local_sagemaker.state import ACCOUNT, State
from training_job_support import REGION, clean_moto


@pytest.fixture(autouse=True)
def fresh_moto() -> Iterator[None]:
    with clean_moto():
        yield


def messages(stream: str) -> list[str]:
    return [event.message for event in logs_backends[ACCOUNT][REGION].groups[TRAINING_GROUP].streams[stream].events]


def test_a_line_can_be_read_as_soon_as_it_is_written() -> None:
    stream = LogStream(TRAINING_GROUP, "job/algo-1", state=State(), label="job", quiet=True)
    assert messages("job/algo-1") == []
    stream.write("epoch=1;\n")
    assert messages("job/algo-1") == ["epoch=1;"]
    stream.write("")
    stream.write("epoch=2;")
    assert messages("job/algo-1") == ["epoch=1;", "epoch=2;"]


def test_lines_reach_the_terminal_with_the_label_in_front_unless_it_is_quiet(
    capsys: pytest.CaptureFixture[str],
) -> None:
    LogStream(TRAINING_GROUP, "loud", state=State(), label="job-7").write("hello")
    LogStream(TRAINING_GROUP, "silent", state=State(), label="job-8", quiet=True).write("hello")
    assert capsys.readouterr().out == "job-7 | hello\n"


def test_the_time_of_a_later_line_is_never_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = LogStream(TRAINING_GROUP, "s", state=State(), label="job", quiet=True)
    stream.write("first")
    first = logs_backends[ACCOUNT][REGION].groups[TRAINING_GROUP].streams["s"].events[0].timestamp
    monkeypatch.setattr("time.time_ns", lambda: (first - 60_000) * 1_000_000)
    stream.write("second")
    times = [event.timestamp for event in logs_backends[ACCOUNT][REGION].groups[TRAINING_GROUP].streams["s"].events]
    assert times == [first, first]


def test_a_line_longer_than_an_event_is_written_as_several() -> None:
    LogStream(TRAINING_GROUP, "s", state=State(), label="job", quiet=True).write("x" * 600_000)
    assert [len(message) for message in messages("s")] == [262_144, 262_144, 75_712]


def test_streams_made_by_many_threads_at_once_are_all_there() -> None:
    state = State()

    def write(number: int) -> None:
        LogStream(TRAINING_GROUP, f"s{number}", state=state, label="job", quiet=True).write(str(number))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [messages(f"s{number}") for number in range(20)] == [[str(number)] for number in range(20)]
