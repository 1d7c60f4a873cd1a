from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from docker_support import free_port
from factorbox.commands.metric_definitions import metric_definitions


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


def run_demo(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(checkout / "local_test/demo.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})


def test_the_demo_runs_the_pipeline_and_recommends_with_titles(checkout: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    # Neither another cloud nor a proxy that the shell names has to do with it.
    elsewhere = {"AWS_PROFILE": "none", "AWS_ENDPOINT_URL": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    done = run_demo(checkout, *small_data(tmp_path), "--output", str(output), **elsewhere)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "36 of 37 rows kept" in done.stdout
    assert "Training job demo" in done.stdout
    assert "epoch=1;" in done.stdout
    assert "Transform job demo" in done.stdout
    # The users of the benchmark are not in these data, so the first two are asked for.
    assert "User 1 has 3 films, best rated first:" in done.stdout
    assert "User 2 has 3 films" in done.stdout
    assert "1.  Film " in done.stdout
    rows = (output / "recommendations/recommendations.csv").read_text().splitlines()
    assert rows[0] == "user_id,item_id,score,title"
    # Six films have a rating above 2, of which each user has seen three.
    assert [row.split(",")[0] for row in rows[1:]] == [*["1"] * 3, *["2"] * 3]
    assert (output / "interactions.csv").read_text().startswith("user_id,item_id,timestamp\n")
    with tarfile.open(output / "s3/demo/output/model.tar.gz") as archive:
        assert "manifest.json" in archive.getnames()
    assert "epoch=1;" in (output / "pipeline.log").read_text()
    assert json.loads((output / "metric_definitions.json").read_text()) == metric_definitions()


def test_a_report_of_an_earlier_run_is_not_taken_for_one_of_a_run_that_failed(checkout: Path, tmp_path: Path) -> None:
    old = tmp_path / "out/recommendations/report.html"
    old.parent.mkdir(parents=True)
    old.write_text("of an earlier run")
    (tmp_path / "one.csv").write_text("user_id,item_id\n,a\n")
    assert run_demo(checkout, "--data", str(tmp_path / "one.csv"), "--output", str(tmp_path / "out")).returncode == 1
    assert not old.exists()


def test_the_demo_says_how_to_look_at_its_model(checkout: Path, tmp_path: Path) -> None:
    # Something of an earlier run is in the way.
    model = tmp_path / "the output/opt_ml/model"
    model.mkdir(parents=True)
    (model / "old").touch()
    old = tmp_path / "the output/recommendations/report.html"
    old.parent.mkdir()
    old.write_text("of an earlier run")
    port = str(free_port())
    command = [sys.executable, str(checkout / "local_test/demo.py"), *small_data(tmp_path), "--output", "the output"]
    environment = {**os.environ, "SAGEMAKER_BIND_TO_PORT": port}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr

    report = (tmp_path / "the output/recommendations/report.html").as_uri()
    assert f"\nHow good the model is and what it has learned, for a browser:\n   {report}\n" in done.stdout
    with urllib.request.urlopen(report) as page:
        assert page.read().rstrip().endswith(b"</html>")
    serving, address = done.stdout.splitlines()[-2:]
    assert serving.startswith("   SAGEMAKER_BASE_DIR='the output/opt_ml' ")
    assert address == f"   http://localhost:{port}/#user=1"
    assert not (model / "old").exists()
    # A shell that becomes the command, so that the signal below reaches it.
    base, program = serving.strip().split(" /", 1)
    server = subprocess.Popen(["bash", "-c", f"{base} exec /{program}"], env=environment, cwd=tmp_path)
    try:
        deadline = time.monotonic() + 60
        while (page := answer_of(f"http://127.0.0.1:{port}/")) is None:
            assert server.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        assert "<title>factorbox</title>" in page
        assert '"item":{"title":"Film ' in str(answer_of(f"http://127.0.0.1:{port}/search?user_id=1"))
    finally:
        server.terminate()
        assert server.wait(30) == 0


def answer_of(address: str) -> str | None:
    """Return what a server answers, None while it does not."""
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:
        return None


def test_a_failed_training_shows_the_sentence_of_the_failure_file(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text("user_id,item_id\n,a\n")
    done = run_demo(checkout, "--data", str(tmp_path / "one.csv"), "--output", str(tmp_path / "out"))
    assert done.returncode == 1
    assert done.stderr.startswith("demo: the training job demo ended as Failed: AlgorithmError: ")
    assert "interactions.csv" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout


def test_data_without_a_good_rating_end_the_demo_with_a_sentence(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "low.csv").write_text("user_id,item_id,rating\n1,a,2\n")
    done = run_demo(checkout, "--data", str(tmp_path / "low.csv"), "--output", str(tmp_path / "out"))
    assert (done.returncode, done.stderr) == (
        1,
        "demo: no row has a rating above 2: there is nothing to train on\n",
    )


def test_without_docker_the_option_for_it_ends_with_a_sentence(checkout: Path, tmp_path: Path) -> None:
    done = run_demo(checkout, *small_data(tmp_path), "--docker", "--output", str(tmp_path / "out"), PATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith("demo: ") and "without --docker no Docker is needed" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_demo_ends_what_it_started(checkout: Path, tmp_path: Path, number: signal.Signals) -> None:
    container = tmp_path / "container"
    container.mkdir()
    for name in ("train", "serve"):
        (container / name).write_text(f'#!/bin/sh\necho $$ >"{tmp_path}/pid"\nexec sleep 60\n')
        (container / name).chmod(0o755)
    script = (
        f"import sys; sys.path.insert(0, {str(checkout / 'local_test')!r}); import demo; from pathlib import Path; "
        f"demo._CHECKOUT = Path({str(tmp_path)!r}); sys.exit(demo.main(sys.argv[1:]))"
    )
    arguments = [*small_data(tmp_path), "--output", str(tmp_path / "out")]
    demo = subprocess.Popen([sys.executable, "-c", script, *arguments], stdout=subprocess.DEVNULL)
    pid_file = tmp_path / "pid"
    while not (pid_file.exists() and pid_file.read_text().endswith("\n")):
        assert demo.poll() is None
        time.sleep(0.05)
    demo.send_signal(number)
    assert demo.wait(30) == 128 + number
    assert not is_running(int(pid_file.read_text()))
