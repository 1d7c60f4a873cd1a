"""Make the SageMaker SDK's ``get_execution_role()`` work without AWS.

The SDK asks STS at its address on the internet, whatever endpoint is configured, unless a file that AWS puts on its
notebook machines tells the role.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

METADATA = Path("/opt/ml/metadata/resource-metadata.json")


@contextmanager
def notebook_role(role: str, *, path: Path = METADATA) -> Iterator[str]:
    """Write the file for the length of the ``with`` block, and take it and its new folders back at the end.

    Parameters
    ----------
    role
        The ARN that ``get_execution_role()`` is to return.
    path
        Where the SDK looks.

    Yields
    ------
    str
        What happened, for the user; where the file cannot be written, the command that would do it.
    """
    content = json.dumps({"ResourceName": "local-sagemaker", "ExecutionRoleArn": role}) + "\n"
    new_folders = [folder for folder in path.parents if not folder.exists()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(content)
    except FileExistsError:
        yield f"{path} is there already and stays as it is: get_execution_role() returns the role that it names"
        return
    except OSError as error:
        _remove_empty(new_folders)
        yield f"{path} cannot be written ({error.strerror}). For get_execution_role(), run:\n{_command(path, content)}"
        return
    try:
        yield f"get_execution_role() returns {role} ({path}, until this ends)"
    finally:
        path.unlink(missing_ok=True)
        _remove_empty(new_folders)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        with suppress(OSError):  # never made, or somebody else put something into it
            folder.rmdir()


def _command(path: Path, content: str) -> str:
    folder, file = shlex.quote(str(path.parent)), shlex.quote(str(path))
    return f"sudo mkdir -p {folder} && echo {shlex.quote(content.strip())} | sudo tee {file}"
