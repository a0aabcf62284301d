#!/usr/bin/env bash
# The GPU's part against NVIDIA's real tools, without a GPU: `make test-tensorrt`. Downloads about 320 MB once.
#
#   every kernel compiles with nvcc 13 for sm_87 (Orin), sm_90 (Hopper), sm_110 (Thor), and with NVRTC 12.6, JetPack 6's;
#   the tables of virtual methods agree with the headers of TensorRT 11.4 and TensorRT-RTX 1.5 to 1.7;
#   the real TensorRT-RTX parses and builds every shipped model, and stops cleanly where there is no driver.
#
# `make test` does not run it; .ci/run does when what it tests changed. The libraries are NVIDIA's, under its licence: they
# are tools of this test and are never shipped.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ $(uname -m) == x86_64 ]] || { say "test-tensorrt: SKIPPED, the packages are for x86-64"; exit 0; }
home=$tools/tensorrt
nvcc=$home/nvidia/cu13/bin/nvcc
nvrtc=$home/nvidia/cuda_nvrtc/lib/libnvrtc.so.12
rtx=$home/onnxruntime_ep_nv_tensorrt_rtx/libtensorrt_rtx.so.1.7.1

bring() {
    [[ -e $home/ready ]] && return
    local work wheel
    work=$(mktemp -d)
    # shellcheck disable=SC2064 # the folder of now
    trap "rm -rf '$work'" EXIT
    say "bringing NVIDIA's compilers and TensorRT-RTX into $home (scripts/tools-tensorrt.txt)"
    python3 -m venv "$work/venv"
    "$work/venv/bin/python" -m pip --quiet --disable-pip-version-check download --only-binary :all: --no-deps \
        --require-hashes --python-version 3.11 --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 \
        --platform manylinux2010_x86_64 --platform manylinux_2_12_x86_64 --platform manylinux_2_17_x86_64 \
        --dest "$work" -r scripts/tools-tensorrt.txt
    rm -rf "$home"
    mkdir -p "$home"
    for wheel in "$work"/*.whl; do python3 -m zipfile -e "$wheel" "$home"; done
    chmod -R u+x "$home/nvidia/cu13/bin" "$home/nvidia/cu13/nvvm/bin"
    # Headers of TensorRT, of a crate that carries them; nothing of it is compiled.
    mkdir -p "$work/crate/src"
    printf '[package]\nname = "headers"\nedition = "2021"\n[workspace]\n[dependencies]\ntrtx-sys = "=0.9.1"\n' >"$work/crate/Cargo.toml"
    touch "$work/crate/src/lib.rs"
    (cd "$work/crate" && cargo vendor --quiet >/dev/null)
    cp -r "$work/crate/vendor/trtx-sys/TensorRT-Headers" "$home/headers"
    touch "$home/ready"
}

kernels() {
    local arch file out
    out=$(mktemp -d)
    for arch in sm_87 sm_90 sm_110; do
        for file in daemon/gpu/kernels/*.cu; do
            "$nvcc" -arch="$arch" --fmad=false -Werror all-warnings -cubin -o "$out/kernel.cubin" "$file"
            say "$(basename "$file") for $arch: $(stat -c %s "$out/kernel.cubin") bytes"
        done
    done
    rm -rf "$out"
}

# RTX 1.3 and 1.4 have other tables and are refused (daemon/gpu/src/trt/version.rs).
tables() { daemon/gpu/abi/check.py "$home"/headers/TRT-Enterprise-11.4 "$home"/headers/TRT-RTX-1.[567]; }

libraries() {
    SYNOPTIC_LIBNVRTC=$nvrtc SYNOPTIC_TENSORRT=$rtx cargo test --package synoptic-gpu --locked --test gpu -- --nocapture real
}

bring
stage "kernels: nvcc" kernels
stage "tables: headers" tables
stage "nvrtc, tensorrt-rtx" libraries
finish
