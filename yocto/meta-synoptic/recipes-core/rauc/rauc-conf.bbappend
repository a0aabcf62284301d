# systemd/box/rauc/system.conf, the same file that the virtual box has; a Jetson has its own, for another boot loader. The key
# ring is the builder's: RAUC_KEYRING_URI in the build's configuration names it; meta-rauc's own example is refused by
# synoptic-bundle.bb.
FILESEXTRAPATHS:prepend := "${SYNOPTIC_TREE}/systemd/box/rauc:"
SRC_URI:append:tegra = " file://system-tegra.conf"

do_install:prepend() {
    if [ -e ${UNPACKDIR}/system-tegra.conf ]; then
        cp ${UNPACKDIR}/system-tegra.conf ${UNPACKDIR}/system.conf
    fi
    sed -i 's|@COMPATIBLE@|${SYNOPTIC_COMPATIBLE}|' ${UNPACKDIR}/system.conf
}
PACKAGE_ARCH = "${MACHINE_ARCH}"
