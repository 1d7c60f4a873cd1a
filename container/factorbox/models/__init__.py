"""The algorithms: one file each, one protocol (`factorbox.models.base`), kernels beside them.

The file of an algorithm has what a server needs of it. What trains needs torch, which takes longer to import than all
else together, so the methods that train import that when they are called.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from factorbox.models.als import ALS
from factorbox.models.base import Algorithm
from factorbox.models.explicit import EXPLICIT
from factorbox.models.mlp import MLP
from factorbox.models.nmf import NMF
from factorbox.models.sampled import ADAPTIVE_HINGE, BPR, HINGE, POINTWISE
from factorbox.models.softmax import Softmax

ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType(
    {
        algorithm.name: algorithm
        for algorithm in (ALS(), Softmax(), BPR, HINGE, ADAPTIVE_HINGE, POINTWISE, EXPLICIT, NMF(), MLP())
    }
)
"""Every algorithm by its name, the default first."""
