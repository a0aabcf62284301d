# systemd/box/rauc/system.conf, the same file that the virtual box has. The key ring is the builder's: RAUC_KEYRING_URI
# in the build's configuration names it; meta-rauc's own example is refused by synoptic-bundle.bb.
FILESEXTRAPATHS:prepend := "${SYNOPTIC_TREE}/systemd/box/rauc:"

do_install:prepend() {
    sed -i 's|@COMPATIBLE@|${SYNOPTIC_COMPATIBLE}|' ${UNPACKDIR}/system.conf
}
PACKAGE_ARCH = "${MACHINE_ARCH}"
