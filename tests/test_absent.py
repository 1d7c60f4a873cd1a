"""Packages that a process does without."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from factorbox.absent import refuse_imports
refuse_imports("pandas", "scipy")
import pyarrow
from factorbox.data.ids import Ids
ids = Ids.from_texts(["b", "a"])
assert ids.is_sorted() and (ids.index_of("b"), ids.index_of("c"), ids.index_of("")) == (1, -1, -1)
try:
    import pandas
except ModuleNotFoundError as error:
    assert error.name == "pandas"
    print(sorted({"pandas", "scipy"} & set(sys.modules)))
"""


def test_refused_packages_are_not_imported_and_kernels_and_arrow_do_without() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
