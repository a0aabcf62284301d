# The configuration beside the image that the firmware started, on that very disk; and what it needs built in.
FILESEXTRAPATHS:prepend:synoptic := "${THISDIR}/files:"
GRUB_BUILDIN:append:synoptic = " squash4 regexp probe echo sleep reboot halt all_video gzio xzio"
