"""manifest.json: what a model folder holds, sealed by its own digest."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import orjson

from factorbox.errors import PlatformError
from factorbox.model_files import HELD_OUT, LAYERS, OPTIONAL_FILES, REQUIRED_FILES, damaged, fingerprint
from factorbox.training_record import holds_sound_records
from factorbox.writing import disk_errors, partial_folder

FORMAT_VERSION = 5
"""Version 1 had neither `available` and details of items nor constants for fold-in; version 2 no global mean and no
layers; version 3 no second history, which its reader would recommend, and no records of validation; version 4
no transforms of weights, which its reader would leave out when it folds users in."""
MANIFEST = "manifest.json"

_SEAL = "sha256_of_the_above"
_COUNTS = ("users", "items", "pairs", "embedding_dim")


def replace_files(folder: Path, *, writers: Mapping[str, Callable[[Path], None]], manifest: Mapping[str, Any]) -> None:
    """Write some files of a model over those that are there, and the manifest, last, with their fingerprints.

    Parameters
    ----------
    writers
        What writes each file, by name.
    manifest
        Its `files` are the fingerprints of those that stay.

    Raises
    ------
    PlatformError
        Where the folder cannot be written or the disk is full; no manifest is left then.
    """
    with disk_errors(folder), partial_folder(folder) as partial:
        for name, write in writers.items():
            write(partial / name)
            # safetensors makes files that only their owner reads; who serves may be another user.
            (partial / name).chmod(0o644)
        files = {**manifest["files"], **{name: fingerprint(partial / name) for name in writers}}
        write_manifest(partial / MANIFEST, {**manifest, "files": files})
        # Without its manifest an older model is not a model: none is ever half old and half new.
        (folder / MANIFEST).unlink(missing_ok=True)
        for name in (*writers, MANIFEST):
            os.replace(partial / name, folder / name)


def write_manifest(path: Path, content: Mapping[str, Any]) -> None:
    """Write a manifest and seal it, whether or not `content` bears the seal of another one."""
    manifest = {key: value for key, value in content.items() if key != _SEAL}
    manifest[_SEAL] = _seal(manifest)
    path.write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check the manifest of a model folder.

    Raises
    ------
    PlatformError
        Where there is none, it is of a newer format, or it is not what was written.
    """
    path = folder / MANIFEST
    try:
        if path.exists() and not path.is_file():
            raise damaged(path, "it is no file")
        manifest = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        raise PlatformError(
            f"no model in {folder}: {MANIFEST} is missing (found: {_found_in(folder)}); put the content of a"
            " model.tar.gz that factorbox trained there"
        ) from None
    except orjson.JSONDecodeError as error:
        raise damaged(path, f"it is not JSON ({error})") from None
    except OSError as error:
        raise PlatformError(f"cannot read {path}: {error.strerror}") from None
    if not isinstance(manifest, dict) or not isinstance(manifest.get("format_version"), int):
        raise damaged(path, "it has no format_version")
    if manifest["format_version"] > FORMAT_VERSION:
        raise PlatformError(
            f"the model in {folder} has format version {manifest['format_version']}, and this factorbox reads up to"
            f" {FORMAT_VERSION}: serve it with the image that trained it, or a newer one"
        )
    try:
        seal = _seal(manifest)
    except TypeError:
        raise damaged(path, "it is nested too deeply") from None
    if manifest.get(_SEAL) != seal:
        raise damaged(path, f"its content does not match its {_SEAL}")
    if not _is_sound(manifest):
        raise damaged(path, "entries are missing or have the wrong type")
    return manifest


def _is_sound(manifest: Mapping[str, Any]) -> bool:
    counts, files, fold_in = (manifest.get(key) for key in ("counts", "files", "fold_in"))
    of_version_1 = (
        manifest["format_version"] >= 1
        and isinstance(manifest.get("algorithm"), str)
        and isinstance(manifest.get("hyperparameters"), dict)
        and isinstance(counts, dict)
        and all(_is_count(counts.get(key)) for key in _COUNTS)
        and isinstance(files, dict)
        and files.keys() - _optional_files(manifest["format_version"]) == REQUIRED_FILES
        and all(isinstance(recorded, dict) and set(recorded) == {"bytes", "sha256"} for recorded in files.values())
    )
    if not of_version_1 or manifest["format_version"] == 1:
        return of_version_1
    assert isinstance(counts, dict) and isinstance(files, dict)
    of_version_2 = (
        _is_count(counts.get("unavailable_items"))
        and isinstance(fold_in, dict)
        and all(_is_finite_number(value) for value in fold_in.values())
    )
    if not of_version_2 or manifest["format_version"] == 2:
        return of_version_2
    layers = manifest.get("layers")
    of_version_3 = (
        _is_finite_number(manifest.get("global_mean"))
        and isinstance(layers, dict)
        and all(isinstance(shape, list) and all(map(_is_count, shape)) for shape in layers.values())
        and bool(layers) == (LAYERS in files)
    )
    if not of_version_3 or manifest["format_version"] == 3:
        return of_version_3
    held_out_pairs = counts.get("held_out_pairs")
    return _is_count(held_out_pairs) and bool(held_out_pairs) == (HELD_OUT in files) and holds_sound_records(manifest)


def _optional_files(format_version: int) -> set[str]:
    return {name for name, since in OPTIONAL_FILES.items() if since <= format_version}


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_finite_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _found_in(folder: Path) -> str:
    try:
        return ", ".join(sorted(entry.name for entry in folder.iterdir())[:5]) or "nothing"
    except OSError as error:
        return str(error.strerror)


def _seal(manifest: Mapping[str, Any]) -> str:
    """Digest the manifest without its own digest, independent of white space and the order of keys."""
    content = {key: value for key, value in manifest.items() if key != _SEAL}
    return hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
