"""The failure file: what SageMaker shows of a failed job."""

from __future__ import annotations

import logging
from pathlib import Path

SHOWN_CHARACTERS = 1024
"""SageMaker cuts the failure reason here."""


def write_failure(path: Path, *, reason: str) -> None:
    """Write the reason, the useful sentence first; where even that is impossible, the log has it."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(reason[:SHOWN_CHARACTERS] + "\n", encoding="utf-8", errors="replace")
    except OSError as error:
        logging.getLogger(__name__).error("cannot write %s: %s", path, error.strerror)


def clear_failure(path: Path) -> None:
    """Remove the reason of an earlier run in the same folder."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        logging.getLogger(__name__).error("cannot remove the old %s: %s", path, error.strerror)
