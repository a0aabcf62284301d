#!/usr/bin/env bash
# Benchmarks: scripts/bench.sh [NAME...], without a name all but `box`. A benchmark is daemon/CRATE/benches/NAME.rs with a main
# of its own, or a script scripts/bench-NAME.sh; it writes its results as JSON to $BENCH_OUT, which is target/bench/NAME.json:
#
#   [{"metric": "...", "value": 1.0, "unit": "...", "better": "higher"|"lower",
#     "target": 2.0|null, "baseline": 3.0|null, "baseline_name": "..."|null}]
#
# The table for people goes to target/bench/benchmarks.md and to the terminal.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

out=$root/target/bench
shopt -s nullglob
declare -A package=()
for file in daemon/*/benches/*.rs; do
    crate=${file%/benches/*}
    package[$(basename "$file" .rs)]=$(sed -n 's/^name = "\(.*\)"/\1/p' "$crate/Cargo.toml" | head -n 1)
done
declare -A script=()
for file in scripts/bench-*.sh; do
    name=$(basename "$file" .sh)
    script[${name#bench-}]=$file
done
((${#package[@]})) || die "there is no benchmark: daemon/*/benches/*.rs"
mapfile -t all < <(printf '%s\n' "${!package[@]}" "${!script[@]}" | sort)
# Those that take root or an hour are run by their name only.
unasked=" box "

names=("$@")
if ((!${#names[@]})); then
    for name in "${all[@]}"; do
        [[ $unasked == *" $name "* ]] || names+=("$name")
    done
fi
for name in "${names[@]}"; do
    [[ -n ${package[$name]:-}${script[$name]:-} ]] || die "no benchmark is called $name: ${all[*]}"
done

scripts/setup.sh build run test
[[ " ${names[*]} " != *" detect "* && " ${names[*]} " != *" stitchnet "* ]] || scripts/setup.sh onnxruntime golden
[[ " ${names[*]} " != *" shm "* ]] || scripts/setup.sh python
onnxruntime
mkdir -p "$out"
run() {
    rm -f "$out/$1.json"
    if [[ -n ${script[$1]:-} ]]; then
        BENCH_OUT=$out/$1.json "${script[$1]}"
        [[ -s $out/$1.json ]] || die "benchmark $1 wrote no $out/$1.json"
        return
    fi
    local features=()
    # Beside rten, by the library that setup brought.
    [[ $1 != detect ]] || features=(--features ort)
    local own=()
    [[ $1 != shm ]] || own=(SYNOPTIC_PYTHON="$tools/python/bin/python")
    env "${own[@]}" BENCH_OUT="$out/$1.json" cargo bench --locked --quiet --package "${package[$1]}" "${features[@]}" --bench "$1"
    [[ -s $out/$1.json ]] || die "benchmark $1 wrote no $out/$1.json"
}
for name in "${names[@]}"; do
    stage "$name" run "$name"
done

mapfile -t results < <(printf '%s\n' "$out"/*.json | sort)
python3 scripts/bench-table.py "${results[@]}" | tee "$out/benchmarks.md"
finish
