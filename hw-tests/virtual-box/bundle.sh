#!/usr/bin/env bash
# An update of the virtual box: bundle.sh SQUASHFS VERSION KEYS BUNDLE, where KEYS.key and KEYS.crt sign it.
# BOX_COMPATIBLE names another machine, for tests.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/content"
cp --reflink=auto "$1" "$work/content/root.squashfs"
cat >"$work/content/manifest.raucm" <<MANIFEST
[update]
compatible=${BOX_COMPATIBLE:-synoptic-virtual-x86-64}
version=$2
build=$(date -u +%Y-%m-%dT%H:%M:%SZ)

[bundle]
format=verity

[image.rootfs]
filename=root.squashfs
MANIFEST
rm -f "$4"
rauc --cert="$3.crt" --key="$3.key" bundle "$work/content" "$4"
