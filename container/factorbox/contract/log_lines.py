"""Lines for CloudWatch: `name=value;` pairs that metric definitions can search, one line an event, flushed."""

from __future__ import annotations

import logging
import sys


def configure_logging() -> None:
    """Send every record of this process to standard output as a bare line; CloudWatch adds the time."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    logging.captureWarnings(True)
    # Whoever reads the log may leave before the end; the job goes on, and without a traceback for each lost line.
    logging.raiseExceptions = False


def line(**values: object) -> str:
    """Format values as `name=value;` pairs, floats with four significant digits or more as needed.

    >>> line(epoch=3, train_loss=0.12344, seconds=0.84)
    'epoch=3; train_loss=0.1234; seconds=0.84;'
    """
    return " ".join(f"{name}={_text(value)};" for name, value in values.items())


def _text(value: object) -> str:
    return (
        f"{value:.4g}"
        if isinstance(value, float) and abs(value) < 1000
        else f"{value:.1f}"
        if isinstance(value, float)
        else str(value)
    )
