#!/bin/sh
# Puts the files of a box into the root of an image: install.sh ROOT. systemd/README.md says what goes where.
set -eu
root=$(cd "${1:?install.sh ROOT}" && pwd)
cd "$(dirname "$0")"

mkdir -p "$root/data" "$root/efi" "$root/etc/synoptic" "$root/var/lib/synoptic" "$root/var/lib/systemd" "$root/usr/lib/synoptic"
install -m 755 lib/synoptic-* "$root/usr/lib/synoptic/"
chmod 644 "$root/usr/lib/synoptic/synoptic-lib"
# put FOLDER FILE...
put() {
    folder=$root/$1
    shift
    mkdir -p "$folder"
    install -m 644 "$@" "$folder/"
}
put usr/lib/systemd/system system/*
for folder in network journald.conf.d resolved.conf.d system.conf.d; do
    put "usr/lib/systemd/$folder" "$folder"/*
done
put usr/lib/systemd/system/synoptic.service.d synoptic.service.d/*
put etc/dbus-1/system.d dbus/*
put usr/lib/repart.d repart.d/*
put usr/lib/tmpfiles.d tmpfiles.d/*
put etc/ssh/sshd_config.d sshd_config.d/*
