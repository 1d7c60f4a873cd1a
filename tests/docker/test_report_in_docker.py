from __future__ import annotations

import json
from pathlib import Path

from docker_support import docker


def test_a_job_without_network_on_a_read_only_system_leaves_its_report(trained: tuple[Path, str]) -> None:
    base, log = trained
    html = (base / "output/data/report.html").read_text()
    numbers = json.loads((base / "output/data/report.json").read_text())
    assert "window.vegaEmbed=" in html
    assert "The charts are left out" not in html
    assert numbers["algorithm"] == "als"
    assert [key for key, part in numbers.items() if isinstance(part, dict) and "error" in part] == []
    assert "report" in log


def test_the_image_has_what_draws_the_charts_but_not_what_made_it(image: str) -> None:
    script = (
        "import importlib.util, sys; from factorbox.report import vega; from pathlib import Path; "
        "print(vega.bundle_path(Path(sys.prefix)).stat().st_size > 500_000, importlib.util.find_spec('vl_convert'))"
    )
    assert docker("run", "--rm", "--network", "none", image, "python3", "-c", script).split() == ["True", "None"]
