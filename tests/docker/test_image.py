from __future__ import annotations

import json

from docker_support import docker


def test_the_image_has_the_labels_and_the_environment_of_the_contract(image: str) -> None:
    (config,) = json.loads(docker("image", "inspect", "--format", "[{{json .Config}}]", image))
    variables = dict(entry.split("=", 1) for entry in config["Env"])
    assert config["Labels"] == {"com.amazonaws.sagemaker.capabilities.accept-bind-to-port": "true"}
    assert not config.get("Entrypoint")
    assert config["Cmd"] == ["serve"]
    assert "8080/tcp" in config["ExposedPorts"]
    assert variables["PYTHONUNBUFFERED"] == "1"
    assert variables["NVIDIA_VISIBLE_DEVICES"] == "all"


def test_the_image_holds_no_compiler_no_pip_and_no_cache(image: str) -> None:
    script = (
        (
            "for tool in gcc cc pip pip3 ld; do command -v $tool; done; "
            "python3 -c 'import pip' 2>/dev/null && echo pip; "
            "ls -A /root/.cache /var/lib/apt/lists /var/cache/apt 2>/dev/null; "
            "find / -xdev ( -name include -path '*torch*' -o -name '*.a' ) 2>/dev/null; true"
        )
        .replace("( ", "\\( ")
        .replace(" )", " \\)")
    )
    printed = docker("run", "--rm", image, "sh", "-c", script).split()
    assert [word for word in printed if not word.endswith(":")] == []


def test_every_module_of_the_image_comes_with_its_bytecode(image: str) -> None:
    script = (
        "import pathlib, factorbox; "
        "files = pathlib.Path(factorbox.__file__).parent.rglob('*.py'); "
        "print([str(f) for f in files if not list(f.parent.glob(f'__pycache__/{f.stem}.*.pyc'))])"
    )
    assert docker("run", "--rm", image, "python3", "-c", script).strip() == "[]"
