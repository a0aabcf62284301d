SUMMARY = "What makes a box of an image with Synoptic: units, network, first boot, health gate"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE-MIT;md5=f77df3e3b8600f18bcbb2f3151501a60 file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57"
PV = "${@synoptic.version(d)}"

inherit allarch systemd features_check
REQUIRED_DISTRO_FEATURES = "systemd usrmerge"

FILESEXTRAPATHS:prepend := "${SYNOPTIC_TREE}:"
SRC_URI = "file://systemd/box file://LICENSE-MIT file://LICENSE-APACHE"
S = "${UNPACKDIR}"
B = "${S}/systemd/box"

do_configure[noexec] = "1"
do_compile[noexec] = "1"

do_install() {
    sh ${B}/install.sh ${D}
    # synoptic-boot has the mount points of its own units.
    rmdir ${D}/efi
    install -Dm 644 ${B}/chrony/chrony.conf ${D}${sysconfdir}/chrony-synoptic.conf
}

# Every unit but the one of Wi-Fi, which is started where a site has Wi-Fi.
SYSTEMD_SERVICE:${PN} = "${@' '.join(sorted(f for f in os.listdir(d.getVar('SYNOPTIC_TREE') + '/systemd/box/system') if 'wifi' not in f))}"
FILES:${PN} += "/data ${localstatedir}/lib ${nonarch_libdir} ${systemd_system_unitdir}"
RDEPENDS:${PN} = "synoptic chrony curl rauc coreutils openssh-keygen e2fsprogs-e2fsck tzdata"
RRECOMMENDS:${PN} = "wpa-supplicant kernel-module-uvcvideo"
