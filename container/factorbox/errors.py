"""What can go wrong, sorted by who can mend it.

::

    FactorboxError
    ├── UserError        the caller can: input data, hyperparameters, a request
    ├── AlgorithmError   we can: a bug, or a model whose numbers stopped being finite
    └── PlatformError    whoever runs the machine can: memory, disk, a damaged artifact

A message names the value, the place and the remedy, the useful sentence first: SageMaker shows a user the
first 1,024 characters of it and nothing else.
"""

from __future__ import annotations


class FactorboxError(Exception):
    """Base of every error that factorbox raises on purpose."""


class UserError(FactorboxError):
    """Input that the caller has to change: data, hyperparameters or a request."""


class AlgorithmError(FactorboxError):
    """A fault of factorbox itself, or a training whose numbers stopped being finite."""


class PlatformError(FactorboxError):
    """A fault of the surroundings: too little memory or disk, a damaged or missing artifact."""
