"""Small models of every kind, fitted to made-up ratings and saved as a training job saves them."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from answering_support import VARIANTS
from factorbox import artifact
from factorbox.data.item_details import ItemDetails
from factorbox.models import ALGORITHMS
from support import clustered_ratings


def save_variant(folder: Path, variant: str, *, item_details: ItemDetails | None = None) -> None:
    """Fit one of `VARIANTS` to users who give 4 or 5 to each fourth item and 1 or 2 to others, and save it."""
    name, options = VARIANTS[variant]
    algorithm = ALGORITHMS[name]
    interactions = clustered_ratings(np.random.default_rng(5), n_users=40, n_items=24)
    config = algorithm.resolved(algorithm.config(embedding_dim=4, epochs=10, **options), interactions=interactions)
    artifact.save(
        folder,
        interactions=interactions,
        factors=algorithm.fit(interactions, config=config, random_state=3),
        algorithm=name,
        hyperparameters=asdict(config),
        metrics={},
        item_details=item_details,
    )
