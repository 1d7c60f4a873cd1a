from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import demo_runs
from demo_data import DemoError
from demo_runs import Command, Containers, Processes

SERVER = """
import http.server, os, pathlib, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
    def log_message(self, *arguments):
        pass
pathlib.Path(sys.argv[2]).write_text(str(os.getpid()))
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class StandIn(Processes):
    """Commands that serve and train nothing."""

    def __init__(self, folder: Path, *, script: str) -> None:
        self.pid_file = folder / "pid"
        self._script = script

    def train(self, base: Path) -> Command:
        return Command([sys.executable, "-c", self._script])

    def serve(self, base: Path, *, port: int) -> Command:
        return Command([sys.executable, "-c", self._script, str(port), str(self.pid_file)])


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def small_data(folder: Path) -> list[str]:
    """Write ratings of 12 users on 9 films in two tastes, and titles; return the options that name them."""
    rows = [f"{user},{(user % 2) * 4 + k},{3 + (user + k) % 3},{k}" for user in range(1, 13) for k in range(1, 4)]
    (folder / "ratings.csv").write_text("\n".join(["userId,movieId,rating,timestamp", *rows, "1,8,1,1"]))
    (folder / "movies.csv").write_text("\n".join(["movieId,title", *(f"{k},Film {k}" for k in range(1, 10))]))
    return ["--data", str(folder / "ratings.csv"), "--items", str(folder / "movies.csv")]


def run_demo(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "local_test/demo.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True)


def test_the_demo_trains_serves_and_recommends_with_titles(checkout: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = run_demo(checkout, *small_data(tmp_path), "--output", str(output))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "36 of 37 rows kept" in done.stdout
    assert "epoch=1;" in done.stdout
    # The users of the benchmark are not in these data, so the first two are asked for.
    assert "User 1 has 3 films, best rated first:" in done.stdout
    assert "User 2 has 3 films" in done.stdout
    assert "1.  Film " in done.stdout
    answers = [json.loads(line) for line in (output / "answers.jsonl").read_text().splitlines()]
    assert [answer["user_id"] for answer in answers] == ["1", "2"]
    training = (output / "opt-ml/input/data/training/interactions.csv").read_text()
    assert training.startswith("user_id,item_id\n")
    for name in ("train.log", "serve.log", "requests.jsonl", "opt-ml/model/manifest.json"):
        assert (output / name).exists()


def test_a_failed_training_shows_the_sentence_of_the_failure_file(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("user_id,item_id\n,a\n")
    done = run_demo(checkout, "--data", str(tmp_path / "one.csv"), "--output", str(tmp_path / "out"))
    failure = (tmp_path / "out/opt-ml/output/failure").read_text().strip()
    assert done.returncode == 1
    assert f"demo: the training failed (exit status 1): {failure}" in done.stderr
    assert "Traceback" not in done.stderr


def test_data_without_a_good_rating_end_the_demo_with_a_sentence(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "low.csv").write_text("user_id,item_id,rating\n1,a,2\n")
    done = run_demo(checkout, "--data", str(tmp_path / "low.csv"), "--output", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (
        1,
        "demo: no row has a rating above 2: there is nothing to train on\n",
    )


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, DemoError("x")])
def test_the_server_ends_whatever_happens(tmp_path: Path, error: type[BaseException] | BaseException) -> None:
    runner = StandIn(tmp_path, script=SERVER)
    with (
        pytest.raises(error if isinstance(error, type) else type(error)),
        demo_runs.served(runner, tmp_path, log=tmp_path / "log"),
    ):
        pid = int(runner.pid_file.read_text())
        assert is_running(pid)
        raise error
    assert not is_running(pid)


def test_sigterm_to_the_demo_ends_what_it_started(checkout: Path, tmp_path: Path) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(checkout / 'local_test')!r}, {str(Path(__file__).parent)!r}]; "
        "from pathlib import Path; import demo, demo_runs, test_demo; "
        f"folder = Path({str(tmp_path)!r}); "
        "demo._runner = lambda options: test_demo.StandIn(folder, script="
        "'import os, pathlib, time; pathlib.Path(\"%s/pid\").write_text(str(os.getpid())); time.sleep(60)' % folder); "
        "sys.exit(demo.main(sys.argv[1:]))"
    )
    arguments = [*small_data(tmp_path), "--output", str(tmp_path / "out")]
    demo = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.DEVNULL)
    pid_file = tmp_path / "pid"
    while not (pid_file.exists() and pid_file.read_text()):
        assert demo.poll() is None
        time.sleep(0.05)
    demo.send_signal(signal.SIGTERM)
    assert demo.wait(30) == 128 + signal.SIGTERM
    assert not is_running(int(pid_file.read_text()))


def test_a_server_that_ends_at_once_shows_its_last_lines(tmp_path: Path) -> None:
    runner = StandIn(tmp_path, script="import sys; sys.exit('no model in the folder')")
    with (
        pytest.raises(DemoError, match="no model in the folder"),
        demo_runs.served(runner, tmp_path, log=tmp_path / "log"),
    ):
        pass


def test_containers_are_read_only_and_run_as_the_caller(tmp_path: Path) -> None:
    runner = Containers("some-image")
    train = " ".join(runner.train(tmp_path).arguments)
    serve = " ".join(runner.serve(tmp_path, port=1234).arguments)
    assert f"--user {os.getuid()}:{os.getgid()}" in train
    assert train.endswith(f"--network none --volume {tmp_path}:/opt/ml some-image train")
    assert serve.endswith(f"--volume {tmp_path}/model:/opt/ml/model:ro --publish 127.0.0.1:1234:8080 some-image serve")
