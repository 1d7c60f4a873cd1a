#!/usr/bin/env bash
# Serve the model that train_local.sh left, as SageMaker does: the model folder is read-only. Ctrl-C ends it.
# Usage: serve_local.sh IMAGE [FOLDER]    PORT: where to answer on this machine (default: 8080)
set -euo pipefail
image=${1:?"usage: $0 IMAGE [FOLDER]"}
folder=$(cd "${2:-$(dirname "$0")/test_dir}" && pwd)
mkdir -p "$folder/model"
exec docker run --rm --user "$(id -u):$(id -g)" --publish "127.0.0.1:${PORT:-8080}:8080" \
  --volume "$folder/model:/opt/ml/model:ro" "$image" serve
