#!/usr/bin/env bash
# Runs the suite beside it on this machine: run.sh [OUT]. Wants an NVIDIA driver, nothing else; no Rust, no GStreamer.
#
# Leaves gpu.json and gpu.md in OUT (here without an argument). TensorRT is used where it is found (SYNOPTIC_TENSORRT names a
# file), compute-sanitizer where it is installed. Ends with 1 when a check failed.
set -uo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
out=${1:-.}
mkdir -p "$out"
suite=$here/synoptic-gpu-suite
[[ -x $suite ]] || { echo "error: no synoptic-gpu-suite beside $0: make it with hw-tests/gpu/pack.sh" >&2; exit 1; }
options=()
[[ -d $here/cubins ]] && options+=(--cubins "$here/cubins")
[[ -d $here/models ]] && options+=(--models "$here/models")
[[ -d $here/pictures ]] && options+=(--pictures "$here/pictures")

# NVRTC may lie where no loader looks, in a Python package say.
if [[ -z ${SYNOPTIC_LIBNVRTC:-} ]] && ! ldconfig -p 2>/dev/null | grep -q 'libnvrtc\.so\.1'; then
    found=$(find /usr/local /opt /usr/lib -name 'libnvrtc.so.1[123]*' 2>/dev/null | sort | tail -n 1)
    [[ -n $found ]] && export SYNOPTIC_LIBNVRTC=$found
fi

command -v nvidia-smi >/dev/null && nvidia-smi --query-gpu=name,driver_version,memory.total,temperature.gpu,clocks.sm --format=csv,noheader
date -u +%FT%TZ
status=0
"$suite" "${options[@]}" --out "$out" || status=1
# The compiler of the machine itself, where there is one: what a box does at its first start.
mkdir -p "$out/nvrtc"
"$suite" --quick --out "$out/nvrtc" | grep -v '| passed |' || status=1
if [[ -z ${SYNOPTIC_TENSORRT:-} ]] && command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck initcheck; do
        echo "compute-sanitizer: $tool"
        compute-sanitizer --tool "$tool" --error-exitcode 9 "$suite" --quick "${options[@]}" --out "$out/nvrtc" \
            >"$out/$tool.log" 2>&1 || status=1
        tail -n 3 "$out/$tool.log"
    done
fi
exit "$status"
