"""What ends a program becomes a sentence and an exit code."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable

from pipeline_steps.aws import sentences
from pipeline_steps.errors import InputRefusedError, PipelineError


def attempt(step: Callable[[], None], *, program: str) -> int:
    """Run a step; what ends it becomes a sentence and an exit code."""
    try:
        with sentences():
            step()
    except PipelineError as error:
        sys.stderr.write(f"{program}: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"{program}: {error.strerror or error}: {error.filename or 'the output'}\n")
        return InputRefusedError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write(f"{program}: interrupted\n")
        return 128 + signal.SIGINT
    except SystemExit as stop:
        sys.stderr.write(f"{program}: stopped\n")
        return int(stop.code or 0)
    return 0
