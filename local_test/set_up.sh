# shellcheck shell=bash
# Sourced by demo.sh and tests/run.sh. Makes .venv with the pinned requirements and factorbox itself, once:
# a stamp with a checksum of everything that went in lets later runs skip it.
#
#   set_up [FILE]...    FILE: more requirement files, relative to the top of the checkout
#
# TORCH_INDEX: where the torch line, and no other, is installed from; the default is PyTorch's own index of CPU
# builds. Empty: from where pip finds all the rest (on Linux that may be the CUDA build of several GB).

set_up() {
  local top venv sum file
  top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd) || return
  venv=$top/.venv
  sum=$top:$(cd "$top" && cat pyproject.toml local_test/set_up.sh requirements.txt container/requirements.txt | cksum)
  if ! _is_stamped factorbox "$sum"; then
    echo "Setting up $venv (a few minutes the first time)"
    _make_venv && _install_torch && _pip install -r "$top/requirements.txt" || return
    # setuptools is among the requirements, so that this build fetches nothing.
    _pip install --no-build-isolation --no-deps --editable "$top" || return
    echo "$sum" >"$venv/set-up-factorbox"
  fi
  for file in "$@"; do
    sum=$(cksum <"$top/$file")
    if ! _is_stamped "${file//\//-}" "$sum"; then
      echo "Installing $file"
      _pip install -r "$top/$file" || return
      echo "$sum" >"$venv/set-up-${file//\//-}"
    fi
  done
}

_is_stamped() {
  [ -x "$venv/bin/python" ] && [ "$(cat "$venv/set-up-$1" 2>/dev/null)" = "$2" ]
}

_pip() {
  "$venv/bin/python" -m pip --disable-pip-version-check -qq "$@"
}

_is_python_3_11() {
  "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null
}

_make_venv() {
  local python
  # A checkout that was moved or copied brings a virtual environment that no longer works.
  _is_python_3_11 "$venv/bin/python" && _pip --version >/dev/null 2>&1 && return
  for python in python3.11 python3 python; do
    _is_python_3_11 "$python" || continue
    rm -rf "$venv"
    "$python" -m venv "$venv" && return
    rm -rf "$venv"
    echo "$python cannot make a virtual environment: install its venv module (python3.11-venv on Debian and Ubuntu) and run this again" >&2
    return 1
  done
  echo "No Python 3.11 was found as python3.11, python3 or python: install it, with its venv module, and run this again" >&2
  return 1
}

_install_torch() {
  local line index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
  line=$(sed -n 's/^\(torch==[^ ]*\).*/\1/p' "$top/container/requirements.txt")
  if [ -z "$index" ]; then
    _pip install --no-deps "$line"
    return
  fi
  _pip install --no-deps --retries 1 --timeout 30 --index-url "$index" "$line" && return
  # Only CPU builds carry this local version; a mirror or a folder of wheels in pip's settings may have it.
  echo "$line could not be installed from $index: looking for its CPU build where pip looks by default" >&2
  _pip install --no-deps "$line+cpu" && return
  cat >&2 <<END
No CPU build of $line was found. Set TORCH_INDEX to an index that has one and can be reached, or set it empty
(TORCH_INDEX= $0) to take the build that pip finds by itself: on Linux that may be the CUDA build of several GB.
END
  return 1
}
