#!/usr/bin/env bash
# A slot of a tree: squash.sh TREE FILE [--fast]. xz as in an image, or gzip for tests; GRUB, which reads the kernel in it,
# knows both and not zstd.
set -euo pipefail
how=(-comp xz -b 256K -Xbcj x86)
[[ ${3:-} != --fast ]] || how=(-comp gzip -Xcompression-level 1)
rm -f "$2"
mksquashfs "$1" "$2" -noappend -no-progress -quiet -all-time "${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}" "${how[@]}"
size=$(stat -c %s "$2")
((size <= 512 << 20)) || {
    echo "error: $2 is larger than a slot: $((size >> 20)) of 512 MiB" >&2
    exit 1
}
