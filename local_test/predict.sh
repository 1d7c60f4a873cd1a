#!/usr/bin/env bash
# Send a file of requests to the server that serve_local.sh started, and print the answer.
# Usage: predict.sh FILE [CONTENT_TYPE] [ACCEPT]    PORT: where the server answers (default: 8080)
set -euo pipefail
file=${1:?"usage: $0 FILE [CONTENT_TYPE] [ACCEPT]"}
case $file in
  *.csv) type=text/csv ;;
  *) type=application/jsonlines ;;
esac
[ -r "$file" ] || { echo "$0: cannot read $file" >&2; exit 1; }
# Whatever the status: the body of a refusal says what is wrong and what to do.
curl --silent --show-error --fail-with-body --noproxy '*' --data-binary "@$file" \
  --header "Content-Type: ${2:-$type}" --header "Accept: ${3:-text/csv}" \
  "http://127.0.0.1:${PORT:-8080}/invocations" && code=0 || code=$?
echo
exit "$code"
