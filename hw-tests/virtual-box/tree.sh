#!/usr/bin/env bash
# A whole root file system of the box in a folder: tree.sh TREE SYNOPTIC VERSION KEYRING, as root. SYNOPTIC is the daemon's
# binary, KEYRING the certificate whose bundles it takes.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/../../scripts/lib.sh"
here=hw-tests/virtual-box
tree=$1 binary=$2 version=$3 keyring=$4

rm -rf "$tree"
mkdir -p "$tree"
zstd -qdc "$("$here/root.sh")" | tar -x -C "$tree"

systemd/box/install.sh "$tree"
install -m 644 systemd/box/boot/*.mount "$tree/usr/lib/systemd/system/"
install -Dm 644 systemd/box/chrony/chrony.conf "$tree/etc/chrony/chrony.conf"
mkdir -p "$tree/etc/rauc"
sed 's|@COMPATIBLE@|synoptic-virtual-x86-64|' systemd/box/rauc/system.conf >"$tree/etc/rauc/system.conf"
install -Dm 644 "$keyring" "$tree/usr/lib/rauc/ca.cert.pem"

install -m 755 "$binary" "$tree/usr/bin/synoptic"
install -m 644 systemd/synoptic.service "$tree/usr/lib/systemd/system/"
install -m 644 systemd/sysusers.d/synoptic.conf "$tree/usr/lib/sysusers.d/"
install -m 644 systemd/tmpfiles.d/synoptic.conf "$tree/usr/lib/tmpfiles.d/"
install -Dm 644 configs/examples/box.toml "$tree/usr/share/synoptic/box.toml"
install -Dm 644 -t "$tree/usr/share/synoptic/models" configs/models/*.toml
printf '%s\n' "$version" >"$tree/usr/share/synoptic/release"

# What Debian keeps in /var is made anew at each start, in memory; what must last is bound there from /data.
install -m 644 "$here/files/var.mount" "$tree/usr/lib/systemd/system/"
# Two cameras that the kernel makes up.
install -m 644 "$here/files/vivid.conf" "$tree/etc/modprobe.d/"
echo vivid >"$tree/etc/modules-load.d/vivid.conf"

ln -sfn ../run/systemd/resolve/stub-resolv.conf "$tree/etc/resolv.conf"
ln -sfn /data/etc/localtime "$tree/etc/localtime"
: >"$tree/etc/machine-id"
rm -f "$tree"/etc/ssh/ssh_host_* "$tree/etc/hostname"
# With it agetty would not look into /run/issue.d, where the box says its address.
rm -f "$tree/etc/issue"
cp "$tree/usr/share/systemd/tmp.mount" "$tree/usr/lib/systemd/system/"
mkdir -p "$tree/var/log/journal"

chroot "$tree" systemd-sysusers
units=(synoptic.service systemd-networkd.service systemd-resolved.service chrony.service ssh.service tmp.mount var.mount)
for unit in systemd/box/system/* systemd/box/boot/*.mount; do
    [[ $unit == *wifi* ]] || units+=("$(basename "$unit")")
done
chroot "$tree" systemctl --quiet enable "${units[@]}"
# The box's own gate commits a slot; nothing here asks who sits at the console, or rotates what journald rotates.
chroot "$tree" systemctl --quiet mask rauc-mark-good.service systemd-firstboot.service apt-daily.timer apt-daily-upgrade.timer \
    dpkg-db-backup.timer e2scrub_reap.service e2scrub_all.timer fstrim.timer systemd-networkd-wait-online.service
