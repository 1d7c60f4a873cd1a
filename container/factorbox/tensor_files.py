"""Files of float32 arrays in the safetensors format: eight bytes of length, a JSON header, the numbers.

The arrays are mapped where the header says they are: the package safetensors copies them when it makes numpy arrays,
and maps them for torch alone, which a server starts without.
"""

from __future__ import annotations

import json
import math
import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

_FLOAT32 = np.dtype("<f4")
_LENGTH_BYTES = 8
_LONGEST_HEADER = 100_000_000
"""As the package safetensors has it."""


class TensorFileError(Exception):
    """Why a file is not one of float32 arrays."""


def write_tensors(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Write arrays as safetensors."""
    save_file({name: np.ascontiguousarray(array) for name, array in tensors.items()}, path)


def map_file(path: Path) -> dict[str, NDArray[np.float32]]:
    """Map all arrays of a file; what is written to one stays in this process.

    Raises
    ------
    TensorFileError
        Where the file is cut off, has no sound header, or has arrays of another type.
    OSError
        Where it cannot be read.
    """
    with path.open("rb") as file:
        size = path.stat().st_size
        if size < _LENGTH_BYTES:
            raise TensorFileError(f"it has {size} bytes, and no header")
        begin = _LENGTH_BYTES + int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if begin > min(size, _LENGTH_BYTES + _LONGEST_HEADER):
            raise TensorFileError(f"its header would end at byte {begin:,} of {size:,}")
        places = _places(file.read(begin - _LENGTH_BYTES), size=size - begin)
        # Kernels are compiled for arrays that may be written to; such pages are copied.
        mapped = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY), dtype=np.uint8)[begin:]
    try:
        return {name: mapped[start:end].view(_FLOAT32).reshape(shape) for name, (start, end, shape) in places.items()}
    except ValueError as error:
        # Such as a hundred dimensions, or one of 2**70 beside one of 0.
        raise TensorFileError(f"no array has a shape that its header gives: {error}") from None


def _places(header: bytes, *, size: int) -> dict[str, tuple[int, int, list[int]]]:
    """Return where each array begins and ends among the numbers, which have so many bytes, and its shape."""
    try:
        entries = json.loads(header)
    except (ValueError, RecursionError):
        raise TensorFileError("its header is not JSON") from None
    if not isinstance(entries, dict):
        raise TensorFileError("its header is no JSON object")
    places = {name: _place(name, entry) for name, entry in entries.items() if name != "__metadata__"}
    reached = 0
    for name, (start, end, _) in sorted(places.items(), key=lambda place: place[1][:2]):
        if start != reached:
            raise TensorFileError(f"{name} begins at byte {start:,} of the numbers in place of {reached:,}")
        reached = end
    if reached != size:
        raise TensorFileError(f"its numbers have {size:,} bytes, and its header says {reached:,}")
    return places


def _place(name: str, entry: Any) -> tuple[int, int, list[int]]:
    try:
        dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
        lengths = [length for length in (start, end, *shape) if type(length) is not int or length < 0]
    except (KeyError, TypeError, ValueError):
        raise TensorFileError(f"its header does not say what {name} is") from None
    if not isinstance(shape, list):
        raise TensorFileError(f"its header has {shape!r} for the shape of {name}")
    if lengths:
        raise TensorFileError(f"its header has {lengths[0]!r} for a length of {name}")
    if dtype != "F32":
        raise TensorFileError(f"{name} is of type {dtype}, not F32 (float32)")
    if end - start != math.prod(shape) * _FLOAT32.itemsize:
        raise TensorFileError(f"{name} takes {end - start:,} bytes, which do not make the shape {shape}")
    return start, end, shape
