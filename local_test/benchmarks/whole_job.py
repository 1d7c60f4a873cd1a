"""Time and memory of whole training jobs, from a CSV file to the artifact, by phase and by size.

    cd local_test && python -m benchmarks.whole_job [SHAPE ...] [--columns weight] [--runs N] [--set NAME=VALUE ...]

Of several runs the one stands in the tables whose seconds are the median. Each job is a process of `container/train`.
Its log tells the phases: what comes between two of its lines belongs to the phase that ends with the second. The peak
of the resident memory in each is what the kernel itself kept, reset at each line; from it goes what the process has
after its imports, at its first line. Mapped files count.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.generated import COLUMNS, SHAPES, Columns
from benchmarks.side_by_side import machine

_ROOT = Path(__file__).resolve().parent.parent.parent
_TRAIN = _ROOT / "container/train"
_ENDS = (
    ("imports", re.compile(r"algorithm=")),
    ("reading", re.compile(r"files=\d+;.*rows=")),
    ("hold-out", re.compile(r"validation=\w+; held_out_pairs=")),
    ("trials", re.compile(r".*trial_\w+=")),
    ("fitting", re.compile(r"epoch=|best_epoch=")),
    ("evaluation", re.compile(r"Measured after|validation:|most_popular:")),
    ("refit", re.compile(r"refit_epoch=")),
    ("saving", re.compile(r"saved=")),
    ("requests", re.compile(r"requests=")),
    ("report", re.compile(r"report=")),
)
"""The phases in order, each with the lines of the log that end a part of it."""

_PHASES = [name for name, _ in _ENDS] + ["exit"]
_MB = 1e6


@dataclass
class Job:
    """One job.

    Attributes
    ----------
    seconds, peaks
        Of each phase: wall time, and largest resident memory in bytes.
    imports
        Resident bytes after the imports.
    pairs
        Distinct pairs.
    compiled
        Kernels that the job had to compile.
    """

    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(_PHASES, 0.0))
    peaks: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_PHASES, 0))
    imports: int = 0
    pairs: int = 0
    compiled: int = 0

    @property
    def whole(self) -> float:
        """Seconds of all phases."""
        return sum(self.seconds.values())

    @property
    def peak(self) -> int:
        """Most bytes beyond those after the imports."""
        return max(self.peaks.values()) - self.imports


def run(base: Path) -> Job:
    """Run the job of a base folder and follow its log."""
    job, log, at = Job(), list[str](), 0
    waiting = 0.0
    started = last = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, str(_TRAIN)],
        env={**os.environ, "SAGEMAKER_BASE_DIR": str(base)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        highest = 0
        for line in process.stdout:
            now = time.perf_counter()
            status = _status(process.pid)
            highest = max(highest, status.get("VmHWM", 0))
            waiting += now - last
            last = now
            log.append(line)
            found = next((k for k, (_, pattern) in enumerate(_ENDS) if k >= at and pattern.match(line)), None)
            if match := re.search(r"pairs=(\d+); users=", line):
                job.pairs = int(match[1])
            if match := re.search(r"compiled=(\d+)", line):
                job.compiled = int(match[1])
            if found is None:
                continue
            name, at = _PHASES[found], found
            job.seconds[name] += waiting
            job.peaks[name] = max(job.peaks[name], highest)
            if name == "imports":
                job.imports = status.get("VmRSS", 0)
            waiting, highest = 0.0, 0
            _reset_peak(process.pid)
        code = process.wait()
    if match := re.search(r"saving_seconds=([-+.e\d]+);", "".join(log)):
        # The last half-sweep of a fit stands between its last epoch and the artifact.
        fitted_last = "refit" if job.peaks["refit"] else "fitting"
        job.seconds[fitted_last] += job.seconds["saving"] - float(match[1])
        job.seconds["saving"] = float(match[1])
    job.seconds["exit"] = time.perf_counter() - started - sum(job.seconds.values())
    if code != 0:
        raise SystemExit(f"the job failed:\n{''.join(log)}")
    return job


def _status(process: int) -> dict[str, int]:
    """Return the sizes in a process's status, in bytes; none where it has ended."""
    try:
        text = Path(f"/proc/{process}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return {}
    return {name: 1024 * int(size) for name, size in re.findall(r"^(Vm\w+):\s+(\d+) kB", text, re.MULTILINE)}


def _reset_peak(process: int) -> None:
    """Let the kernel begin anew with the largest resident memory of a process."""
    try:
        Path(f"/proc/{process}/clear_refs").write_text("5", encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):
        # It has ended.
        return


def main() -> None:
    """Run a job of each shape and print the tables."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.whole_job", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("shapes", nargs="*", default=["1m", "5m", "20m", "50m"], metavar="SHAPE")
    parser.add_argument("--columns", choices=COLUMNS, default="plain", help="beside the ids (plain: none)")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--set", nargs="+", default=[], metavar="NAME=VALUE", help="hyperparameters of all jobs")
    arguments = parser.parse_args()
    if unknown := set(arguments.shapes) - SHAPES.keys():
        parser.error(f"no shape {', '.join(sorted(unknown))}: give some of {', '.join(SHAPES)}")
    hyperparameters = dict(text.split("=", 1) for text in arguments.set)
    print(f"{machine()}; columns: {arguments.columns}; {' '.join(arguments.set) or 'no hyperparameters'}\n")
    jobs: dict[str, Job] = {}
    for shape in arguments.shapes:
        with tempfile.TemporaryDirectory(prefix="whole-job-") as folder:
            jobs[shape] = _job(Path(folder), shape, hyperparameters, columns=arguments.columns, runs=arguments.runs)
    print(f"| seconds | pairs | {' | '.join(_PHASES)} | whole | µs a pair | compiled |")
    print(f"| --- | {' | '.join(['---:'] * (len(_PHASES) + 4))} |")
    for shape, job in jobs.items():
        whole = job.whole
        cells = " | ".join(f"{job.seconds[name]:.2f}" for name in _PHASES)
        print(f"| {shape} | {job.pairs:,} | {cells} | {whole:.1f} | {1e6 * whole / job.pairs:.2f} | {job.compiled} |")
    print(f"\n| peak, MB | after imports | {' | '.join(_PHASES[1:-1])} | beyond imports | bytes a pair |")
    print(f"| --- | {' | '.join(['---:'] * (len(_PHASES) + 1))} |")
    for shape, job in jobs.items():
        cells = " | ".join(
            f"{(job.peaks[name] - job.imports) / _MB:.0f}" if job.peaks[name] else "-" for name in _PHASES[1:-1]
        )
        print(f"| {shape} | {job.imports / _MB:.0f} | {cells} | {job.peak / _MB:.0f} | {job.peak / job.pairs:.1f} |")


def _job(base: Path, shape: str, hyperparameters: dict[str, str], *, columns: Columns, runs: int) -> Job:
    channel, config, model = base / "input/data/training", base / "input/config", base / "model"
    channel.mkdir(parents=True)
    config.mkdir(parents=True)
    (config / "hyperparameters.json").write_text(json.dumps(hyperparameters), encoding="utf-8")
    file = channel / "interactions.csv"
    # In a process of its own: what a child has at its peak may count what its parent had before.
    command = [sys.executable, "-m", "benchmarks.generated", shape, str(file), "--columns", columns]
    subprocess.run(command, cwd=_ROOT / "local_test", check=True)
    jobs = []
    for _ in range(runs):
        shutil.rmtree(model, ignore_errors=True)
        jobs.append(run(base))
    return sorted(jobs, key=lambda job: job.whole)[(len(jobs) - 1) // 2]


if __name__ == "__main__":
    main()
