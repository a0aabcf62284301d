#!/usr/bin/env bash
# The virtual box without Synoptic: Debian packages in a tar, made once for a list of packages.
#
#   root.sh      prints the tar's path, making it where it is not there
#   BOX_MIRROR   another Debian mirror than mmdebstrap's own
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
here=hw-tests/virtual-box
suite=bookworm

sum=$(cat "$here"/{packages.txt,prune.sh,root.sh} | sha256sum | cut -c 1-12)
made=$tools/box/root-$sum.tar.zst
if [[ -e $made ]]; then
    echo "$made"
    exit
fi
mkdir -p "$tools/box"
find "$tools/box" -name 'root-*' -delete
work=$(mktemp -d "$tools/box/work.XXXXXX")
trap 'rm -rf "$work"' EXIT
packages=$(sed -e 's/#.*//' "$here/packages.txt" | paste -sd ,)

# What GRUB starts is the same for every box: drivers of disks and of squashfs, not those of this host.
cat >"$work/initramfs" <<'HOOK'
set -eu
cd "$1"
cat >etc/initramfs-tools/modules <<'MODULES'
squashfs
virtio_pci
virtio_blk
virtio_scsi
ahci
sd_mod
nvme
usb_storage
uas
xhci_pci
MODULES
echo MODULES=list >etc/initramfs-tools/conf.d/synoptic
depmod -b "$1" "$(ls lib/modules)"
chroot . update-initramfs -u -k all >/dev/null
mv boot/vmlinuz-* boot/vmlinuz
mv boot/initrd.img-* boot/initrd.img
rm -rf boot/config-* boot/System.map-* initrd.img* vmlinuz*
HOOK

say "making the root of the virtual box: Debian $suite, $(tr , '\n' <<<"$packages" | wc -l) packages and theirs" >&2
mode=root
((EUID == 0)) || mode=unshare
mmdebstrap --quiet --mode="$mode" --variant=minbase --format=tar \
    --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --include="$packages" \
    --customize-hook="sh $PWD/$here/prune.sh \"\$1\"" --customize-hook="sh $work/initramfs \"\$1\"" \
    "$suite" "$work/root.tar" ${BOX_MIRROR:+"$BOX_MIRROR"} >&2
zstd -q -3 -T0 --rm "$work/root.tar" -o "$work/root.tar.zst"
mv "$work/root.tar.zst" "$made"
echo "$made"
