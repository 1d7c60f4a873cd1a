"""What is said of a job's data before it trains."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from factorbox.contract.paths import Paths
from factorbox.errors import UserError
from factorbox.training.preparing import prepare
from support import make_base

TRAINING = {"a.csv": "user_id,item_id,rating\nu1,i1,5\nu1,i2,4\nu2,i1,3\nu3,i3,5\n"}


@pytest.mark.parametrize("channel", ["validation", "testing"])
def test_the_counts_of_a_validation_channel_add_up(
    tmp_path: Path, channel: str, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ["u2,i2,5", "u2,i2,4", "u2,i2,4", "u3,i2,1", "u3,i1,2", "u1,i1,5", "nobody,i1,5", "u1,nothing,4", "u3,i1,3"]
    files = {"a.csv": "\n".join(["user_id,item_id,rating", *rows])}
    base = make_base(tmp_path, files=TRAINING, hyperparameters={"min_rating": "3"}, **{channel: files})
    with caplog.at_level(logging.INFO):
        prepare(Paths(base))
    (said,) = [message for message in caplog.messages if message.startswith("validation_channel=")]
    assert said == (
        f"validation_channel={channel}; validation_files=1; validation_rows=9; validation_dropped_below_min_rating=2;"
        " validation_repeated_rows=2; usable_pairs=2; unknown_users=1; unknown_items=1; pairs_of_unknown=2;"
        " pairs_in_training=1;"
    )
    counts = {name: int(value) for name, value in re.findall(r"(\w+)=(\d+);", said)}
    parts = ("validation_dropped_below_min_rating", "validation_repeated_rows", "usable_pairs", "pairs_of_unknown")
    assert counts["validation_rows"] == sum(counts[part] for part in (*parts, "pairs_in_training"))


@pytest.mark.parametrize("channel", ["validation", "testing"])
def test_a_bad_row_is_refused_with_the_channel_of_its_file(tmp_path: Path, channel: str) -> None:
    files = {"a.csv": "user_id,item_id,rating\nu1,,5\n"}
    base = make_base(tmp_path, files=TRAINING, **{channel: files})
    with pytest.raises(UserError, match=rf"^bad item '' in {channel}/a\.csv, line 2, column 'item_id'"):
        prepare(Paths(base))
    base = make_base(tmp_path / "training", files=files)
    with pytest.raises(UserError, match=r"^bad item '' in a\.csv, line 2, column 'item_id'"):
        prepare(Paths(base))
