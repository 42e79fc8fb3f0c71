#!/usr/bin/env bash
# Installs reconcile into the folder $1, from the source that this file is in: locked, hashed, and nothing else.
set -euo pipefail
source=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
python3 -m venv "$1"
pip=("$1/bin/python" -m pip --disable-pip-version-check --quiet install)
"${pip[@]}" --require-hashes --only-binary :all: --requirement "$source/.github/requirements.txt"
# what builds it came with the requirements: nothing is fetched here
"${pip[@]}" --no-deps --no-index --no-build-isolation "$source"
"$1/bin/reconcile" --help > "$1/help.txt"
