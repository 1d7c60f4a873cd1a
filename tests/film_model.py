"""The model of three users and four films that the examples of the docstrings ask."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa

from factorbox import artifact
from factorbox.data.ids import Ids
from factorbox.data.interactions import Interactions
from factorbox.data.item_details import ItemDetails
from factorbox.data.splits import Pairs
from factorbox.models.base import Factors

USERS = ("ann", "bob", "cleo")
FILMS = ("alien", "brazil", "charade", "diva")
USER_FACTORS = np.array([[0.6, 0.4], [-0.2, 0.9], [0.4, 0.8]], dtype=np.float32)
FILM_FACTORS = np.array([[1, 0], [1, 0.5], [0, 1], [0.5, 1]], dtype=np.float32)
TITLES = ("Alien (1979)", "Brazil (1985)", None, "Diva (1981)")
SCORES = ("8.5", "7.8", None, "")


def save_films(folder: Path, *, exclude_seen: bool = True, held_out: Pairs | None = None) -> Path:
    """Write the model; charade has no titles, and one of their columns is called like one of every answer."""
    texts = {"title": TITLES, "score": SCORES}
    artifact.save(
        folder,
        interactions=Interactions(
            user_ids=Ids.from_texts(USERS),
            item_ids=Ids.from_texts(FILMS),
            indptr=np.array([0, 2, 4, 6]),
            item_indices=np.array([0, 1, 2, 3, 1, 2], dtype=np.int32),
            weights=np.array([1, 2, 1, 1, 1, 3], dtype=np.float32),
        ),
        factors=Factors(
            user_factors=USER_FACTORS,
            item_factors=FILM_FACTORS,
            user_biases=np.zeros(3, np.float32),
            item_biases=np.zeros(4, np.float32),
            epochs=1,
            train_loss=0.0,
        ),
        algorithm="als",
        hyperparameters={
            "embedding_dim": 2,
            "alpha": 1.0,
            "unobserved_weight": 0.3,
            "regularization": 0.38,
            "regularization_exponent": 0.5,
            "exclude_seen": exclude_seen,
            "user_column": "viewer",
            "item_column": None,
        },
        metrics={},
        item_details=ItemDetails({name: pa.array(column, type=pa.large_string()) for name, column in texts.items()}),
        held_out=held_out,
    )
    return folder


def pack(folder: Path, archive: Path, *, prefix: str = "") -> Path:
    """Pack the files of a model folder as a training job does."""
    with tarfile.open(archive, "w:gz") as packed:
        for path in sorted(folder.iterdir()):
            packed.add(path, arcname=prefix + path.name)
    return archive
