#!/usr/bin/env bash
# Makes a folder that proves the GPU code on another machine: hw-tests/gpu/pack.sh [FOLDER] (target/gpu-pack).
#
#   FOLDER/suite   the suite (this machine's architecture, glibc 2.36 or newer), kernels compiled for Orin, Hopper and Thor, models,
#                  stills, run.sh: copy it to any NVIDIA machine of the same architecture and start run.sh
#   FOLDER/rtx-1, rtx-2  TensorRT-RTX in two parts (x86-64), for machines that take 64 MiB at a time
#
# Models and stills come from SYNOPTIC_MIRROR (or ../shared); compilers and TensorRT-RTX from scripts/test-tensorrt.sh, which is
# to be run first. Prints at the end what to run, step by step. Nothing of the folder is committed.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"

folder=${1:-target/gpu-pack}
home=$tools/tensorrt
[[ -e $home/ready ]] || die "no compilers in $home: run scripts/test-tensorrt.sh first"
mirror=${SYNOPTIC_MIRROR:-../shared}
rm -rf "${folder:?}"
mkdir -p "$folder/suite" "$folder/rtx-1" "$folder/rtx-2"

cargo build --release --locked --package synoptic-gpu-suite
cp "$target/release/synoptic-gpu-suite" hw-tests/gpu/run.sh "$folder/suite/"
strip "$folder/suite/synoptic-gpu-suite"
newest=$(objdump -T "$folder/suite/synoptic-gpu-suite" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
say "the suite wants $newest"

for arch in sm_87 sm_90 sm_110; do
    mkdir -p "$folder/suite/cubins/$arch"
    for file in daemon/gpu/kernels/*.cu; do
        "$home/nvidia/cu13/bin/nvcc" -arch="$arch" --fmad=false -cubin \
            -o "$folder/suite/cubins/$arch/$(basename "$file" .cu).cubin" "$file"
    done
done

if [[ -d $mirror/models ]]; then
    cp -r "$mirror/models" "$folder/suite/models"
    mkdir -p "$folder/suite/pictures"
    find "$mirror/data/stills" -name '*.jpg' -size -600k 2>/dev/null | sort | head -n 6 | xargs -r cp -t "$folder/suite/pictures"
else
    say "no $mirror/models: inference is not compared; set SYNOPTIC_MIRROR"
fi

say "packing TensorRT-RTX (some minutes)"
libraries=$home/onnxruntime_ep_nv_tensorrt_rtx
tar -C "$libraries" -c libtensorrt_rtx.so.1.7.1 libtensorrt_onnxparser_rtx.so.1.7.1 libcudart.so.13.4.36 |
    nice xz -T 2 -6 | split --bytes=33M - "$folder/part."
mv "$folder/part.aa" "$folder/rtx-1/"
mv "$folder"/part.* "$folder/rtx-2/"
du -sh "$folder"/*

cat <<STEPS

On an NVIDIA machine of one's own: copy $folder/suite there and run  bash suite/run.sh results

On a lent machine that takes 64 MiB a call and forgets everything between leases, in this order, the second call as soon as the
first has returned ($folder must be an ignored folder of the repository):

  1. carry $folder/suite and $folder/rtx-1; at most 600 s; run
       bash $folder/suite/run.sh "\$OUT"; mkdir -p /tmp/rtx && cp $folder/rtx-1/part.* /tmp/rtx/

     Checks every kernel, times them, repeats the checks with the machine's own NVRTC and under compute-sanitizer.

  2. carry $folder/suite and $folder/rtx-2; at most 600 s; run
       cp $folder/rtx-2/part.* /tmp/rtx/ && cat /tmp/rtx/part.* | xz -d | tar -x -C /tmp/rtx && ln -sf libcudart.so.13.4.36 /tmp/rtx/libcudart.so.13 && LD_LIBRARY_PATH=/tmp/rtx SYNOPTIC_TENSORRT=/tmp/rtx/libtensorrt_rtx.so.1.7.1 bash $folder/suite/run.sh "\$OUT"

     Models by TensorRT-RTX against rten, with times. It does not list Hopper (9.0): a refusal there is an answer, too.

  3. give the machine back; copy gpu.md of both into docs/reference/gpu-results.md and mend its first table.
STEPS
