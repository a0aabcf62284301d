SUMMARY = "The two partitions that start a UEFI box: ESP with GRUB, and the boot state"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE-MIT;md5=f77df3e3b8600f18bcbb2f3151501a60 file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57"
PV = "${@synoptic.version(d)}"

inherit deploy systemd
COMPATIBLE_HOST = "(x86_64|aarch64).*-linux"
PACKAGE_ARCH = "${MACHINE_ARCH}"

FILESEXTRAPATHS:prepend := "${SYNOPTIC_TREE}:"
SRC_URI = "file://systemd/box/boot file://LICENSE-MIT file://LICENSE-APACHE"
S = "${UNPACKDIR}"
B = "${WORKDIR}/build"

DEPENDS = "grub-efi grub-native dosfstools-native mtools-native"
do_compile[depends] += "grub-efi:do_deploy"
do_compile[cleandirs] = "${B}"

EFI_NAME = "bootx64.efi"
EFI_NAME:aarch64 = "bootaa64.efi"
SYNOPTIC_CONSOLES ?= "${@' '.join('console=' + c.split(';')[1] + ',' + c.split(';')[0] for c in d.getVar('SERIAL_CONSOLES').split()[:1])} console=tty0"

do_configure[noexec] = "1"
do_compile() {
    sed -e 's|@KERNEL@|${KERNEL_IMAGETYPE}|' -e 's|@CONSOLES@|${SYNOPTIC_CONSOLES}|' ${S}/systemd/box/boot/grub.cfg >${B}/grub.cfg
    grub-script-check ${B}/grub.cfg

    # A fixed volume id: the same bytes for the same sources.
    truncate -s 64M ${B}/synoptic-esp.vfat
    mkfs.vfat -n ESP -i 53594e4f --invariant ${B}/synoptic-esp.vfat
    mmd -i ${B}/synoptic-esp.vfat ::EFI ::EFI/BOOT
    mcopy -m -i ${B}/synoptic-esp.vfat ${DEPLOY_DIR_IMAGE}/grub-efi-${EFI_NAME} ::EFI/BOOT/${EFI_NAME}
    mcopy -m -i ${B}/synoptic-esp.vfat ${B}/grub.cfg ::EFI/BOOT/grub.cfg

    grub-editenv ${B}/grubenv create
    grub-editenv ${B}/grubenv set ORDER="A B" A_OK=1 B_OK=0 A_TRY=0 B_TRY=0
    truncate -s 16M ${B}/synoptic-bootstate.vfat
    mkfs.vfat -n STATE -i 53594e53 --invariant ${B}/synoptic-bootstate.vfat
    mcopy -m -i ${B}/synoptic-bootstate.vfat ${B}/grubenv ::grubenv
}

do_install() {
    install -d ${D}/efi
    install -Dm 644 -t ${D}${systemd_system_unitdir} ${S}/systemd/box/boot/*.mount
}
SYSTEMD_SERVICE:${PN} = "efi.mount run-synoptic-state.mount"
FILES:${PN} += "/efi ${systemd_system_unitdir}"
RDEPENDS:${PN} = "grub-editenv dosfstools"

do_deploy() {
    install -m 644 ${B}/synoptic-esp.vfat ${B}/synoptic-bootstate.vfat ${DEPLOYDIR}/
}
addtask deploy after do_compile before do_build
