#!/bin/sh
# Removes from a Debian tree what a box never uses: prune.sh TREE. A slot is written whole at each update.
set -eu
cd "$1"
rm -rf usr/share/doc/* usr/share/man/* usr/share/info/* usr/share/locale/* usr/share/lintian usr/share/bug usr/share/icons \
    usr/share/sounds usr/share/X11/locale usr/share/directfb-* usr/share/fonts usr/share/perl usr/share/grub \
    var/cache/apt/* var/cache/debconf/* var/lib/apt/lists/* var/log/*

cd usr/lib/x86_64-linux-gnu
# Rendering: nothing is drawn on a box's screen but a console. LLVM and Z3 are Mesa's.
rm -rf dri libLLVM* libz3* mfx libmfxhw* gallium-pipe vdpau perl libperl.so* girepository-1.0 gconv gtk-3.0 libgtk-3* libgdk-3*
# GStreamer: what the daemon never asks for, and what would load the libraries above.
cd gstreamer-1.0
for plugin in gtk gtkwayland rsvg msdk opencv spandsp codec2 flite ladspa lv2 assrender bluez chromaprint colormanagement curl dash dc1394 \
    de265 directfb dtls dvb dvbsuboverlay dvdspu faac faad fluidsynthmidi gme gsm kate midi modplug mplex mpeg2enc \
    musepack neonhttpsrc ofa openal openexr openmpt openni2 sbc sctp siren sndfile soundtouch teletext timecode ttmlsubs \
    vulkan waylandsink wildmidi zbar zxing mxf resindvd cdio dvdread dvdlpcmdec sid asf realmedia xingmux amrnb amrwbdec \
    a52dec 1394 aasink caca cairo dv gdkpixbuf jack shout2 speex taglib twolame wavpack ximagesrc oss4 qmlgl; do
    rm -f "libgst$plugin.so"
done

cd ../../modules/*/kernel
rm -rf drivers/gpu drivers/infiniband drivers/isdn drivers/staging drivers/media/pci drivers/media/tuners drivers/media/dvb-frontends \
    drivers/media/usb/dvb* drivers/net/wireless drivers/net/fddi drivers/net/wan drivers/net/can drivers/hwmon drivers/iio \
    drivers/platform drivers/firewire drivers/parport drivers/comedi drivers/mtd drivers/target drivers/infiniband drivers/ntb sound \
    fs/ocfs2 fs/xfs fs/btrfs fs/ceph fs/gfs2 fs/jfs fs/reiserfs fs/f2fs fs/cifs fs/smb fs/nfs fs/nfsd fs/afs fs/coda fs/ntfs3 \
    net/sctp net/bluetooth net/rxrpc net/tipc net/rds net/smc net/sunrpc net/mac80211 drivers/bluetooth
rm -rf drivers/net/ethernet/mellanox drivers/net/ethernet/chelsio drivers/net/ethernet/qlogic drivers/net/ethernet/broadcom/bnx2x \
    drivers/net/ethernet/cavium drivers/net/ethernet/sfc drivers/net/ethernet/netronome drivers/net/ethernet/huawei \
    drivers/net/ethernet/intel/ice drivers/net/ethernet/intel/i40e drivers/net/ethernet/emulex
find drivers/scsi -mindepth 1 -maxdepth 1 ! -name 'sd_mod*' ! -name 'scsi_*' ! -name 'virtio_scsi*' -exec rm -rf {} +
