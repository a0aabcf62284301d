#!/usr/bin/env bash
# The keys by which boxes trust updates: an offline root, and a certificate for each channel.
#
#   scripts/pki.sh root DIR            DIR/root.key and DIR/root.crt; the certificate is every box's key ring
#   scripts/pki.sh channel DIR NAME    DIR/NAME.key and DIR/NAME.crt, signed by DIR/root.key: signs bundles and releases
#
# Keep root.key off every machine with a network: it is needed once a year, for `channel`. Whoever has a channel's key can
# update boxes of that channel; NAME is in each box's log. Days: ROOT_DAYS (7300), CHANNEL_DAYS (730).
set -euo pipefail

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
usage="scripts/pki.sh root DIR | channel DIR NAME"
(($# >= 2)) || die "$usage"
what=$1 folder=$2 name=${3:-}
umask 077
mkdir -p "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

case $what in
root)
    (($# == 2)) || die "$usage"
    [[ ! -e $folder/root.key ]] || die "$folder/root.key is there: boxes that trust it would trust no new one"
    openssl ecparam -name prime256v1 -genkey -noout -out "$work/root.key"
    openssl req -x509 -new -key "$work/root.key" -sha256 -days "${ROOT_DAYS:-7300}" -subj "/O=Synoptic/CN=root" -out "$work/root.crt" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign
    mv "$work/root.crt" "$work/root.key" "$folder/"
    ;;
channel)
    if (($# != 3)) || [[ ! $name =~ ^[a-z0-9-]+$ || $name == root ]]; then die "$usage (NAME: a-z, 0-9 and -)"; fi
    [[ -r $folder/root.key ]] || die "there is no $folder/root.key: scripts/pki.sh root $folder"
    [[ ! -e $folder/$name.key ]] || die "$folder/$name.key is there"
    openssl ecparam -name prime256v1 -genkey -noout -out "$work/$name.key"
    openssl req -new -key "$work/$name.key" -subj "/O=Synoptic/CN=$name" -out "$work/request"
    # emailProtection is what RAUC asks for by default (OpenSSL's purpose smimesign).
    printf '%s\n' basicConstraints=critical,CA:FALSE keyUsage=critical,digitalSignature extendedKeyUsage=codeSigning,emailProtection \
        subjectKeyIdentifier=hash authorityKeyIdentifier=keyid >"$work/extensions"
    openssl x509 -req -in "$work/request" -CA "$folder/root.crt" -CAkey "$folder/root.key" -set_serial "0x$(openssl rand -hex 16)" \
        -sha256 -days "${CHANNEL_DAYS:-730}" -extfile "$work/extensions" -out "$work/$name.crt" 2>/dev/null
    mv "$work/$name.crt" "$work/$name.key" "$folder/"
    ;;
*) die "$usage" ;;
esac
