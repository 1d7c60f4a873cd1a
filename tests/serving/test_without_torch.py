"""A server never imports torch, which takes longer than the rest of its start and memory of every worker."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from answering_support import VARIANTS
from factorbox.models import ALGORITHMS
from serving.saved_models import save_variant
from serving.test_saved_models_of_every_kind import records_of_every_form

PROGRAM = """
import json, sys
sys.modules["torch"] = None  # importing it fails
from pathlib import Path
import factorbox.serving.server
from factorbox.recommender import Recommender
from factorbox.serving.app import create_app
from factorbox.serving.settings import Settings

for folder, body in json.load(sys.stdin):
    model = Recommender.load(Path(folder))
    model.warm_up()
    client = create_app(model, settings=Settings(), workers=1, ready=lambda: True).test_client()
    answer = client.post("/invocations", data=body, content_type="application/jsonlines",
                         headers={"Accept": "application/jsonlines"})
    print(answer.status_code, folder, answer.text.count("\\n"), answer.text if answer.status_code != 200 else "")
"""


def test_models_of_every_kind_answer_requests_of_every_form_without_torch(tmp_path: Path) -> None:
    asked, expected = [], []
    for variant, (algorithm, _) in VARIANTS.items():
        folder = str(tmp_path / variant)
        save_variant(Path(folder), variant)
        records = records_of_every_form(explains=ALGORITHMS[algorithm].explains)
        asked.append((folder, "\n".join(map(json.dumps, records))))
        expected.append(f"200 {folder} {len(records) - 1} ")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], input=json.dumps(asked), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected
