#!/usr/bin/env bash
# Holds the shared libraries that binaries name against scripts/linked-libs.txt: scripts/linked-libs.sh BINARY...
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

list=scripts/linked-libs.txt
bad=0
for binary in "$@"; do
    name=$(basename "$binary")
    needed=$(objdump -p "$binary" | awk '$1 == "NEEDED" { print $2 }')
    for library in $needed; do
        if ! awk -v b="$name" -v l="$library" \
            '($1 == "*" || $1 == b) && $2 == l { found = 1 } END { exit !found }' "$list"; then
            say "$name links $library, which is not in $list: load it at run time, do without it, or add it with a reason"
            bad=1
        fi
    done
done
exit "$bad"
