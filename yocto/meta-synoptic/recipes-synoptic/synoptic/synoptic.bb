SUMMARY = "Synoptic: many cameras, one instant"
DESCRIPTION = "Cameras in, frames with their capture time, packets of one instant, detection, events, a web page."
HOMEPAGE = "file://${SYNOPTIC_TREE}/README.md"
LICENSE = "MIT | Apache-2.0"
LIC_FILES_CHKSUM = "file://LICENSE-MIT;md5=f77df3e3b8600f18bcbb2f3151501a60 file://LICENSE-APACHE;md5=3b83ef96387f14655fc854ddc3c6bd57"
PV = "${@synoptic.version(d)}"

inherit cargo cargo-lock pkgconfig systemd useradd

# The crates of the tree around this layer, and the page as `make ui` left it: no Node.js is needed here.
FILESEXTRAPATHS:prepend := "${SYNOPTIC_TREE}:"
SRC_URI = " \
    file://Cargo.toml file://Cargo.lock file://LICENSE-MIT file://LICENSE-APACHE file://README.md \
    ${@' '.join('file://' + member for member in synoptic.members(d))} \
    file://daemon/ui/dist \
    file://configs file://systemd \
"
S = "${UNPACKDIR}"
CARGO_LOCK = "${SYNOPTIC_TREE}/Cargo.lock"

# glib and GStreamer are linked; the v4l crate asks libclang for the kernel's structures.
DEPENDS = "glib-2.0 gstreamer1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-bad gstreamer1.0-rtsp-server clang-native"
export LIBCLANG_PATH = "${STAGING_LIBDIR_NATIVE}"
export BINDGEN_EXTRA_CLANG_ARGS = "--sysroot=${STAGING_DIR_TARGET} ${TUNE_CCARGS}"

CARGO_BUILD_FLAGS:append = " --package synoptic --bin synoptic"
BASEDEPENDS:append = " python3-native"

do_configure:append() {
    if [ ! -e ${S}/daemon/ui/dist/index.html ]; then
        bbfatal "the page is missing: run 'make ui' in ${SYNOPTIC_TREE} first"
    fi
}

do_install:append() {
    install -Dm 644 ${S}/systemd/synoptic.service ${D}${systemd_system_unitdir}/synoptic.service
    install -Dm 644 ${S}/systemd/sysusers.d/synoptic.conf ${D}${nonarch_libdir}/sysusers.d/synoptic.conf
    install -Dm 644 ${S}/systemd/tmpfiles.d/synoptic.conf ${D}${nonarch_libdir}/tmpfiles.d/synoptic.conf
    install -Dm 644 ${S}/configs/examples/box.toml ${D}${datadir}/synoptic/box.toml
    install -Dm 644 ${S}/configs/synoptic.toml ${D}${datadir}/doc/synoptic/synoptic.toml
    install -Dm 644 ${S}/README.md ${D}${datadir}/doc/synoptic/README.md
    install -Dm 644 -t ${D}${datadir}/synoptic/models ${S}/configs/models/*.toml
}

do_install:append:tegra() {
    install -Dm 644 ${S}/systemd/jetson/synoptic.service.d/gpu.conf ${D}${systemd_system_unitdir}/synoptic.service.d/gpu.conf
}

SYSTEMD_SERVICE:${PN} = "synoptic.service"
USERADD_PACKAGES = "${PN}"
GROUPADD_PARAM:${PN} = "--system video; --system render"
USERADD_PARAM:${PN} = "--system --home /var/lib/synoptic --shell /sbin/nologin --user-group --groups video,render synoptic"
FILES:${PN} += "${datadir}/synoptic ${nonarch_libdir}/sysusers.d ${nonarch_libdir}/tmpfiles.d ${systemd_system_unitdir}"

# What the daemon loads at run time. A decoder that GStreamer finds is used: hardware ones rank above these.
RDEPENDS:${PN} += " \
    gstreamer1.0-plugins-base-meta \
    gstreamer1.0-plugins-good-rtp gstreamer1.0-plugins-good-rtpmanager gstreamer1.0-plugins-good-rtsp \
    gstreamer1.0-plugins-good-udp gstreamer1.0-plugins-good-isomp4 gstreamer1.0-plugins-good-matroska \
    gstreamer1.0-plugins-good-flv gstreamer1.0-plugins-good-jpeg gstreamer1.0-plugins-good-videofilter \
    gstreamer1.0-plugins-good-video4linux2 gstreamer1.0-plugins-good-soup \
    gstreamer1.0-plugins-bad-videoparsersbad gstreamer1.0-plugins-bad-rtmp2 gstreamer1.0-plugins-bad-mpegtsdemux \
    gstreamer1.0-plugins-bad-webrtc gstreamer1.0-plugins-bad-dtls gstreamer1.0-plugins-bad-srtp libnice \
    gstreamer1.0-rtsp-server-rtspclientsink \
"
RRECOMMENDS:${PN} += "gstreamer1.0-libav synoptic-models"
