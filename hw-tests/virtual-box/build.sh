#!/usr/bin/env bash
# The virtual box: build.sh [--profile debug|release] [--fast] writes target/box: the release folder (image, block map,
# bundle, sums and signature, as flash.sh eats it) and the keys it was signed with. --fast compresses less, for tests.
#
# A disk like that of a UEFI box made by Yocto, with the same units, partitions and update scheme, of Debian's packages.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
here=hw-tests/virtual-box
profile=release fast=
while (($#)); do
    case $1 in
    --profile) profile=$2 && shift 2 ;;
    --fast) fast=1 && shift ;;
    *) die "build.sh [--profile debug|release] [--fast], not $1" ;;
    esac
done
((EUID == 0)) || die "the box is made of files of many owners: run this as root (sudo make box)"
[[ $(uname -m) == x86_64 ]] || die "the virtual box is an x86-64 machine, made of this host's binary: build it on one"
scripts/setup.sh build box
scripts/ui.sh build

case $profile in
release) cargo build --quiet --locked --release --package synoptic ;;
debug) cargo build --quiet --locked --package synoptic ;;
*) die "--profile debug or release, not $profile" ;;
esac
out=$target/box
mkdir -p "$out/release"
version=$(sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
[[ -e $out/keys/root.crt ]] || scripts/pki.sh root "$out/keys"
[[ -e $out/keys/virtual.crt ]] || scripts/pki.sh channel "$out/keys" virtual

binary=$out/synoptic
strip -o "$binary" "$target/$profile/synoptic"
# The box has Debian's libraries, whatever this host has.
lacking=$(objdump -T "$binary" | grep -o 'GLIBC_2\.[0-9]*' | sort -Vu | tail -n 1)
at_least 2.36 "${lacking#GLIBC_}" || die "this host's C library is newer than the box's (Debian 12: 2.36; needed: $lacking): build in Debian 12"
"$here/tree.sh" "$out/tree" "$binary" "$version" "$out/keys/root.crt"
"$here/squash.sh" "$out/tree" "$out/root.squashfs" ${fast:+--fast}
"$here/disk.sh" "$out/root.squashfs" "$out/release/synoptic-virtual-x86-64.img"
"$here/bundle.sh" "$out/root.squashfs" "$version" "$out/keys/virtual" "$out/release/synoptic-virtual-x86-64.raucb"
bmaptool --quiet create -o "$out/release/synoptic-virtual-x86-64.img.bmap" "$out/release/synoptic-virtual-x86-64.img"
scripts/sign-release.sh "$out/release" --key "$out/keys/virtual.key"
ls -sh "$out/release"
