#!/usr/bin/env bash
# Every check and test. On a fresh machine it first makes .venv, as local_test/set_up.sh says.
# Usage: tests/run.sh [ARGUMENTS OF PYTEST]
set -euo pipefail
cd "$(dirname "$0")/.."
. local_test/set_up.sh
set_up tests/requirements.txt
export PATH="$PWD/.venv/bin:$PATH"
ruff check
ruff format --check
mypy
pytest "$@"
