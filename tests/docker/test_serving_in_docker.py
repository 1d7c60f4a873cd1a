from __future__ import annotations

import json
from pathlib import Path

from docker_support import ANY_USER, LOCAL_TEST, ask, docker, running, serving

REQUESTS = (LOCAL_TEST / "payloads/requests.jsonl").read_text()


def test_any_user_serves_on_a_read_only_system(image: str, model: Path) -> None:
    conditions = ("--read-only", "--user", f"{ANY_USER}:{ANY_USER}")
    with serving(image, model, options=conditions) as container:
        answers = [json.loads(line) for line in ask(container, REQUESTS).splitlines()]
    assert [answer["user_id"] for answer in answers] == ["ada", "ben", "somebody new"]
    assert [len(answer["recommendations"]) for answer in answers] == [3, 3, 10]
    assert answers[2]["known_user"] is False


def test_it_answers_without_any_network(image: str, model: Path) -> None:
    script = (
        "import time, urllib.request as r\n"
        "for _ in range(600):\n"
        "    try: r.urlopen('http://127.0.0.1:8080/ping'); break\n"
        "    except OSError: time.sleep(0.1)\n"
        "q = r.Request('http://127.0.0.1:8080/invocations', b'ada,3', {'Content-Type': 'text/csv'})\n"
        "print(r.urlopen(q).read().decode())\n"
    )
    options = ("--network", "none", "--volume", f"{model}:/opt/ml/model:ro")
    with running(image, ["serve"], options=options) as container:
        rows = docker("exec", container.identity, "python3", "-c", script).splitlines()
    assert len(rows) == 3
    assert all(row.startswith("ada,") for row in rows)


def test_another_port_can_be_set(image: str, model: Path) -> None:
    options = ("--env", "SAGEMAKER_BIND_TO_PORT=9123", "--volume", f"{model}:/opt/ml/model:ro")
    with running(image, ["serve"], options=options) as container:
        container.wait_for("port=9123;")


def test_sigterm_to_process_1_ends_the_server_in_order(image: str, model: Path) -> None:
    with serving(image, model) as container:
        docker("stop", "--time", "30", container.identity)
        assert container.exit_code() == 0


def test_a_missing_model_ends_the_server_with_a_sentence(image: str) -> None:
    with running(image, ["serve"]) as container:
        assert container.exit_code() != 0
        log = container.logs()
    assert "no model in /opt/ml/model" in log
    assert "Traceback" not in log
