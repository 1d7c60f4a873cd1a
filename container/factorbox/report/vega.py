"""The JavaScript that draws the charts: Vega, Vega-Lite and Vega-Embed in one bundle.

The package that makes the bundle carries a whole JavaScript engine of 84 MB and takes seconds: the image makes it when
it is built, by `python vega.py` (which needs nothing but that package), and a checkout with its first report.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

CONVERTER = "1.9.0.post1"
"""The release of vl-convert-python that is installed, which settles those of Vega and Vega-Embed."""

VEGA_LITE = "6.4"
"""The release of Vega-Lite."""

_SNIPPET = "window.vegaEmbed = vegaEmbed;"


def bundle_path(prefix: Path) -> Path:
    """Return where the bundle of these releases is kept in a Python installation or virtual environment."""
    return prefix / "share/factorbox" / f"vega-lite-{VEGA_LITE}-{CONVERTER}.js"


def bundle() -> str:
    """Return a script that defines `window.vegaEmbed`.

    Where it is not kept yet, it is made, and kept if that is possible.

    Raises
    ------
    RuntimeError
        Where it has to be made and cannot be.
    """
    path = bundle_path(Path(sys.prefix))
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        # Not made yet, or not to be read by this user.
        script = _made()
    try:
        keep(script, path)
    except OSError:
        # A read-only or full disk costs the next report the same seconds, and this one nothing.
        return script
    return script


def keep(script: str, path: Path) -> None:
    """Write a bundle, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial-{os.getpid()}")
    try:
        partial.write_text(script, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _made() -> str:
    """Make the bundle in a process of its own, so that no JavaScript engine stays in this one."""
    program = "import sys, vl_convert; sys.stdout.buffer.write(vl_convert.javascript_bundle(*sys.argv[1:]).encode())"
    done = subprocess.run([sys.executable, "-c", program, _SNIPPET, VEGA_LITE], capture_output=True)
    if done.returncode != 0:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(
            f"the charts' JavaScript could not be made ({' '.join(reason)}): pip install vl-convert-python=={CONVERTER}"
        )
    return done.stdout.decode()


if __name__ == "__main__":
    keep(_made(), bundle_path(Path(sys.prefix)))
