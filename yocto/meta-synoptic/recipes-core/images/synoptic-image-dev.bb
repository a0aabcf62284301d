SUMMARY = "The firmware of a Synoptic box, with tools and an open root shell: for the desk, never for a site"
require synoptic-image.inc

IMAGE_FEATURES += "ssh-server-openssh empty-root-password allow-empty-password allow-root-login tools-debug"
IMAGE_INSTALL += "gstreamer1.0 strace tcpdump sqlite3 htop mosquitto-clients bash less"
