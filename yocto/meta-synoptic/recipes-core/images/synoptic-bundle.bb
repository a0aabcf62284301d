SUMMARY = "Update bundle of a Synoptic box"
LICENSE = "MIT | Apache-2.0"
PV = "${@synoptic.version(d)}"

inherit bundle

RAUC_BUNDLE_COMPATIBLE = "${SYNOPTIC_COMPATIBLE}"
RAUC_BUNDLE_FORMAT = "verity"
RAUC_BUNDLE_SLOTS = "rootfs"
RAUC_SLOT_rootfs = "synoptic-image"
# A slot of a Jetson is ext4 (synoptic-image.inc). A flag takes no override, a variable in it does.
SYNOPTIC_SLOT_FSTYPE = "squashfs-xz"
SYNOPTIC_SLOT_FSTYPE:tegra = "ext4"
SYNOPTIC_SLOT_IMAGETYPE = "raw"
SYNOPTIC_SLOT_IMAGETYPE:tegra = "ext4"
RAUC_SLOT_rootfs[fstype] = "${SYNOPTIC_SLOT_FSTYPE}"
RAUC_SLOT_rootfs[imagetype] = "${SYNOPTIC_SLOT_IMAGETYPE}"

# Signed by a channel's certificate (scripts/sign-release.sh says how keys are made). There is no default key on purpose: a
# bundle that anyone could have signed is worse than none.
RAUC_KEY_FILE ??= ""
RAUC_CERT_FILE ??= ""
python do_bundle:prepend() {
    for name in ("RAUC_KEY_FILE", "RAUC_CERT_FILE", "RAUC_KEYRING_FILE"):
        if not d.getVar(name):
            bb.fatal(f"{name} is not set: set it in kas/local.yml or conf/local.conf to the channel's PEM file")
}
