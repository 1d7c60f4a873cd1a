"""A Flask app that reads a request and answers with a constant, on the settings that serving gives gunicorn.

    SAGEMAKER_BIND_TO_PORT=PORT python -m benchmarks.constant_app FILE

What the server itself costs: FILE holds the constant.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, cast

from flask import Flask, Response, request

from factorbox.contract.log_lines import configure_logging
from factorbox.contract.processors import usable_processors
from factorbox.serving.invocations import Recommends
from factorbox.serving.server import BACKLOG, Server, bind, writable_folder
from factorbox.serving.settings import settings_from


class ConstantServer(Server):
    """The server of a model, with another application."""

    constant = b""

    def load(self) -> Flask:
        """Make the application."""
        app, constant = Flask("constant"), self.constant

        @app.post("/invocations")
        def invoke() -> Response:
            request.get_data()
            return Response(constant, content_type="text/csv; charset=utf-8")

        @app.get("/ping")
        def ping() -> str:
            return ""

        return app

    def _warm_up(self, worker: Any) -> None:
        """Nothing is to be made."""


def main() -> None:
    """Serve the constant until a signal."""
    configure_logging()
    settings = settings_from(os.environ)
    listener = bind(settings.port)
    listener.listen(BACKLOG)
    ConstantServer.constant = Path(sys.argv[1]).read_bytes()
    ConstantServer(
        cast(Recommends, None),
        settings=settings,
        workers=settings.workers or usable_processors(),
        listener=listener,
        heartbeats=writable_folder(),
    ).run()


if __name__ == "__main__":
    main()
