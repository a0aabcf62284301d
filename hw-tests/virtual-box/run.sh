#!/usr/bin/env bash
# Boots the virtual box in QEMU, emulated: `make box-run`. Its page is on https://127.0.0.1:8443 (BOX_PORT), its console here
# (Ctrl-A X ends it). A disk of its own in target/box/run keeps what the box keeps; remove it to begin anew.
# BOX_SITE=site.toml: the site's settings, by flash.sh.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
release=$target/box/release disk=$target/box/run/disk.img port=${BOX_PORT:-8443}
[[ -e $release/SHA256SUMS ]] || die "there is no box yet: make box"
scripts/setup.sh box
if [[ ! -e $disk ]]; then
    mkdir -p "$target/box/run"
    openssl pkey -in "$target/box/keys/virtual.key" -pubout -out "$target/box/run/release.pem"
    ./flash.sh --yes --trust "$target/box/run/release.pem" --size 4G ${BOX_SITE:+--site "$BOX_SITE"} "$release/synoptic-virtual-x86-64.img" "$disk"
    cp /usr/share/OVMF/OVMF_VARS_4M.fd "$target/box/run/vars.fd"
fi
say "the box's page: https://127.0.0.1:$port (the console shows its first password) · Ctrl-A X ends it"
exec qemu-system-x86_64 -accel tcg,thread=multi -machine q35 -cpu max -smp 2 -m 2048 -nographic -device i6300esb -watchdog-action reset \
    -drive if=pflash,format=raw,unit=0,readonly=on,file=/usr/share/OVMF/OVMF_CODE_4M.fd \
    -drive if=pflash,format=raw,unit=1,file="$target/box/run/vars.fd" \
    -drive if=virtio,format=raw,file="$disk" \
    -nic "user,model=virtio-net-pci,hostfwd=tcp:127.0.0.1:$port-:8443"
