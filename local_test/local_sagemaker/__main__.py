"""The command ``python -m local_sagemaker``: start a local SageMaker, or print the variables that point at it."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import signal
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from local_sagemaker.access import no_proxy_variables
from local_sagemaker.front import ENVIRONMENT_PATH
from local_sagemaker.http_server import HOST
from local_sagemaker.notebook import notebook_role
from local_sagemaker.runners import RunnerError
from local_sagemaker.server import LocalSageMaker

DEFAULT_PORT = 4580
_MAX_PORT = 65535
_BUCKET = re.compile(r"[a-z0-9](?:[a-z0-9-]|\.(?!\.)){1,61}[a-z0-9]")

# They would win over what env prints.
_IN_THE_WAY = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_SESSION_TOKEN",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        return _start(options) if options.command == "start" else _print_environment(options.port)
    except (RunnerError, OSError) as error:
        print(f"local_sagemaker: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m local_sagemaker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("start", help="serve the AWS API on 127.0.0.1 until Ctrl-C or SIGTERM")
    env = commands.add_parser("env", help="print export lines for a local SageMaker that runs")
    for command in (start, env):
        command.add_argument("--port", type=_port, default=DEFAULT_PORT, help="(default: %(default)s)")
    start.add_argument(
        "--runner",
        choices=("auto", "docker", "process"),
        default="auto",
        help="run images by Docker, or train and serve of --container as processes (default: Docker where it runs)",
    )
    start.add_argument(
        "--image",
        type=_image,
        action="append",
        default=[],
        metavar="NAME=TAG",
        help="the image of this machine that runs where a request names NAME; may be given several times",
    )
    start.add_argument(
        "--container",
        type=Path,
        metavar="DIR",
        help="the folder whose train and serve run without Docker (default: container/ of this checkout)",
    )
    start.add_argument(
        "--bucket", type=_bucket, metavar="NAME", help="a bucket to make, which is also the SDK's default bucket"
    )
    start.add_argument("--region", default="us-east-1", help="(default: %(default)s)")
    start.add_argument("--quiet", action="store_true", help="keep the output of containers out of this terminal")
    start.add_argument("--notebook", action="store_true", help="make the SDK's get_execution_role() work without AWS")
    return parser


def _image(text: str) -> tuple[str, str]:
    name, separator, tag = text.partition("=")
    if not name or not separator or not tag:
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=TAG, such as recommender:1=factorbox")
    return name, tag


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: give a number from 0 to {_MAX_PORT}")
    return int(text)


def _bucket(text: str) -> str:
    if not _BUCKET.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no bucket name: give 3 to 63 lower-case letters, digits, dots and hyphens"
        )
    return text


def _start(options: argparse.Namespace) -> int:
    told = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: told.set())
    local = LocalSageMaker(
        port=options.port,
        runner=options.runner,
        images=dict(options.image),
        container=options.container,
        bucket=options.bucket,
        region=options.region,
        quiet=options.quiet,
    )
    with ExitStack() as stack:
        stack.enter_context(local)
        print(f"The local SageMaker answers at {local.url} (runner: {local.runner}).")
        print("Jobs, models, endpoints and objects live in memory: they are gone when this ends.")
        if options.notebook:
            print(stack.enter_context(notebook_role(local.role)))
        print("In the shell of your program:")
        print(f'  eval "$({shlex.quote(sys.executable)} -m local_sagemaker env --port {local.port})"', flush=True)
        told.wait()
        print("Stopping what still runs.", flush=True)
    return 0


def _print_environment(port: int) -> int:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with direct.open(f"http://{HOST}:{port}{ENVIRONMENT_PATH}", timeout=10) as answer:
            variables = json.load(answer)
        if not isinstance(variables, dict):
            raise ValueError("something else does")
    except (urllib.error.URLError, ValueError) as error:
        print(
            f"local_sagemaker: no local SageMaker answers at {HOST}:{port} ({error}):"
            f" run python -m local_sagemaker start --port {port}",
            file=sys.stderr,
        )
        return 1
    specific = (name for name in os.environ if name.startswith("AWS_ENDPOINT_URL_"))
    print("unset", *_IN_THE_WAY, *specific)
    # The exceptions are those of this shell, not of the server's.
    for name, value in (variables | no_proxy_variables(os.environ)).items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
