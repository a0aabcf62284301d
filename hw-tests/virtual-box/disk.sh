#!/usr/bin/env bash
# The disk of a box: disk.sh SQUASHFS IMAGE. ESP with GRUB, boot state, slot A, empty slot B, data.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
slot=$(realpath "$1") image=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/in" "$work/out" "$work/root"

grub-mkimage --format=x86_64-efi --prefix=/EFI/BOOT --config=yocto/meta-synoptic/recipes-bsp/grub/files/cfg --output="$work/bootx64.efi" \
    part_gpt fat squash4 gzio xzio regexp loadenv probe normal configfile linux echo test minicmd reboot halt all_video
sed -e 's|@KERNEL@|vmlinuz|' -e 's|@CONSOLES@|console=tty0 console=ttyS0,115200|' systemd/box/boot/grub.cfg >"$work/grub.cfg"
grub-script-check "$work/grub.cfg"
truncate -s 64M "$work/in/esp.vfat"
mkfs.vfat -n ESP -i 53594e4f --invariant "$work/in/esp.vfat" >/dev/null
mmd -i "$work/in/esp.vfat" ::EFI ::EFI/BOOT
mcopy -m -i "$work/in/esp.vfat" "$work/bootx64.efi" ::EFI/BOOT/bootx64.efi
mcopy -m -i "$work/in/esp.vfat" "$work/grub.cfg" ::EFI/BOOT/grub.cfg

grub-editenv "$work/grubenv" create
grub-editenv "$work/grubenv" set ORDER="A B" A_OK=1 B_OK=0 A_TRY=0 B_TRY=0
truncate -s 16M "$work/in/bootstate.vfat"
mkfs.vfat -n STATE -i 53594e53 --invariant "$work/in/bootstate.vfat" >/dev/null
mcopy -m -i "$work/in/bootstate.vfat" "$work/grubenv" ::grubenv

truncate -s 256M "$work/in/data.ext4"
mkfs.ext4 -q -L data "$work/in/data.ext4"

ln -s "$slot" "$work/in/root.squashfs"
genimage --loglevel 1 --config hw-tests/virtual-box/genimage.cfg --inputpath "$work/in" --outputpath "$work/out" --rootpath "$work/root" \
    --tmppath "$work/tmp"
cp --sparse=always "$work/out/disk.img" "$image"
