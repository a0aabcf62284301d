#!/usr/bin/env bash
# The firmware image: `make image MACHINE=…` builds it with kas and Yocto, and leaves a release folder that flash.sh takes:
# target/image/MACHINE with image, block map, bundle, SBOM and checksums. Wants kas, the network, hours and 100 GB.
#
#   DEV=1            the image for the desk: an open root shell
#   RELEASE_KEY=…    signs the folder (scripts/sign-release.sh); without it the sums are there, unsigned
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

machines=$(for file in yocto/kas/{qemu,jetson}*.yml; do basename "$file" .yml; done | tr '\n' ' ')
[[ -n ${MACHINE:-} ]] || die "MACHINE is not set: make image MACHINE=… (one of: $machines)"
config=yocto/kas/$MACHINE.yml
[[ -e $config ]] || die "there is no machine $MACHINE (one of: $machines)"
have kas || die "kas is missing: pipx install kas (https://kas.readthedocs.io)"
((EUID != 0)) || die "BitBake refuses to run as root: run this as a user of your own"
image=synoptic-image
if [[ -n ${DEV:-} ]]; then
    image=synoptic-image-dev
    config+=:yocto/kas/dev.yml
fi
# What is the builder's own: keys of bundles, mirrors, where downloads are kept.
if [[ -e yocto/kas/local.yml ]]; then config+=:yocto/kas/local.yml; fi

scripts/ui.sh build
export KAS_WORK_DIR=${KAS_WORK_DIR:-$root/target/yocto}
mkdir -p "$KAS_WORK_DIR"
targets=("$image")
if grep -qs RAUC_KEY_FILE yocto/kas/local.yml; then
    targets+=(synoptic-bundle)
else
    say "no update bundle: yocto/kas/local.yml names no RAUC_KEY_FILE"
fi
kas build "${targets[@]/#/--target=}" "$config"

deployed=$KAS_WORK_DIR/build/tmp/deploy/images/$MACHINE
out=$root/target/image/$MACHINE
rm -rf "$out"
mkdir -p "$out"
shopt -s nullglob
for file in "$deployed/$image-$MACHINE".rootfs.{wic.zst,wic.bmap,tegraflash-tar*,spdx*} "$deployed"/synoptic-bundle-"$MACHINE".raucb; do
    # Links name the newest; what they point to is what is released.
    cp --dereference "$file" "$out/"
done
[[ -n $(ls -A "$out") ]] || die "the build left nothing in $deployed"
if [[ -n ${RELEASE_KEY:-} ]]; then
    scripts/sign-release.sh "$out" --key "$RELEASE_KEY"
else
    (cd "$out" && sha256sum -- * >SHA256SUMS)
    say "unsigned: scripts/sign-release.sh $out --key KEY.pem"
fi
say "the release is in $out"
