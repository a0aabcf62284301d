SUMMARY = "The firmware of a Synoptic box"
require synoptic-image.inc

# No password anywhere and no shell for the network: SSH is there only with a key of the site (systemd/box/sshd_config.d).
IMAGE_INSTALL += "openssh-sshd openssh-keygen"
