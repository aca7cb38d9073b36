#!/bin/sh
# Collect everything a device without a network needs: run on a machine like it (same processor
# architecture and Python), copy the folder over, and install as docs/operations.md says.
#   packaging/make-wheelhouse.sh [EXTRA] [FOLDER]
set -eu
extra=${1:-cpu}
folder=${2:-wheelhouse}
cd "$(dirname "$0")/.."
mkdir -p "$folder"
python3 -m pip wheel ".[$extra]" -c constraints.txt --wheel-dir "$folder"
cp constraints.txt packaging/*.service packaging/*.example packaging/adcvsr.logrotate "$folder/"
(cd "$folder" && sha256sum -- *.whl > SHA256SUMS)
echo "$folder: $(ls "$folder"/*.whl | wc -l) wheels"
