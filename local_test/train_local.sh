#!/usr/bin/env bash
# Train as SageMaker does, with a folder of this machine as /opt/ml.
# Usage: train_local.sh IMAGE [FOLDER]    FOLDER: input/ is read, model/ and output/ are written (default: test_dir)
set -euo pipefail
image=${1:?"usage: $0 IMAGE [FOLDER]"}
folder=$(cd "${2:-$(dirname "$0")/test_dir}" && pwd)
mkdir -p "$folder/model" "$folder/output"
# As the caller, so that nothing is left that only root can remove.
exec docker run --rm --user "$(id -u):$(id -g)" --network none --volume "$folder:/opt/ml" "$image" train
