"""Failure file, stop signal, log lines and memory limit."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from factorbox.contract.failure import clear_failure, write_failure
from factorbox.contract.log_lines import line
from factorbox.contract.memory import memory_in_use, memory_limit
from factorbox.contract.stop_signal import JobStopped, StopSignal


def test_the_failure_file_keeps_what_sagemaker_shows(tmp_path: Path) -> None:
    path = tmp_path / "output/failure"
    write_failure(path, reason="the sentence that helps " + "x" * 5000)
    assert path.read_text().startswith("the sentence that helps")
    assert len(path.read_text().rstrip("\n")) == 1024
    clear_failure(path)
    clear_failure(path)
    assert not path.exists()


def test_a_reason_that_is_no_valid_unicode_is_still_written(tmp_path: Path) -> None:
    write_failure(tmp_path / "failure", reason="id \udcff is bad")
    assert (tmp_path / "failure").read_text() == "id ? is bad\n"


def test_a_failure_file_that_cannot_be_written_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "output").write_text("a file where the folder should be")
    write_failure(tmp_path / "output/failure", reason="no")
    assert "cannot write" in caplog.text


@pytest.fixture
def signal_handlers() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_remembered_instead_of_ending_the_process(signal_handlers: None, number: signal.Signals) -> None:
    stop = StopSignal()
    stop.install()
    assert not stop.is_set()
    os.kill(os.getpid(), number)
    os.kill(os.getpid(), number)
    assert stop.is_set()


def test_a_stop_that_got_lost_in_a_callback_ends_the_block_at_its_end(
    signal_handlers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trap: ctypes prints what its callbacks raise and goes on; so does a compiler that calls back after seconds."""
    stop = StopSignal()
    stop.install()
    callback = ctypes.CFUNCTYPE(None)(lambda: os.kill(os.getpid(), signal.SIGTERM))
    lost: list[type[BaseException] | None] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda unraisable: lost.append(unraisable.exc_type))
    with pytest.raises(JobStopped), stop.ends_at_once():
        callback()
        assert lost == [JobStopped]


def test_lines_are_pairs_that_a_metric_definition_can_find() -> None:
    assert line(epoch=3, train_loss=0.123456, seconds=12.0) == "epoch=3; train_loss=0.1235; seconds=12;"
    assert line(train_loss=123456.789, small=1.5e-7) == "train_loss=123456.8; small=1.5e-07;"


@pytest.mark.parametrize("name", ["memory.max", "memory/memory.limit_in_bytes"])
def test_the_limit_is_that_of_the_control_group_where_it_has_one(tmp_path: Path, name: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal:  16000 kB\nMemFree: 5 kB\n")
    assert memory_limit(tmp_path) == 16000 * 1024
    limit = tmp_path / "sys/fs/cgroup" / name
    limit.parent.mkdir(parents=True)
    for text, expected in (("max", 16000 * 1024), ("8192000", 8192000), ("9223372036854771712", 16000 * 1024)):
        limit.write_text(text + "\n")
        assert memory_limit(tmp_path) == expected


def test_this_process_uses_less_than_the_machine_has() -> None:
    assert 10**7 < memory_in_use() < memory_limit()
