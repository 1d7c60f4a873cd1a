#!/usr/bin/env bash
# Films recommended by a model that was trained and served through the SageMaker contract, on real data.
# On a fresh machine with Python 3.11 it first makes .venv. See local_test/demo.sh --help
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
. "$top/local_test/set_up.sh"
set_up
exec "$top/.venv/bin/python" "$top/local_test/demo.py" "$@"
