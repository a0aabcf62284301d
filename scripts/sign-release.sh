#!/usr/bin/env bash
# Signs a release folder for flash.sh: scripts/sign-release.sh FOLDER --key KEY.pem [--certificate CERT.pem]
#
# Writes SHA256SUMS over every file of the folder, SHA256SUMS.sig and, with a certificate, SHA256SUMS.crt.
# KEY is an ECDSA or RSA private key. Make one, and the public key that flash.sh trusts (scripts/flash/keys):
#   openssl ecparam -name prime256v1 -genkey -noout -out release-key.pem
#   openssl pkey -in release-key.pem -pubout -out release.pem
set -euo pipefail

die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
if (($# != 3 && $# != 5)) || [[ $2 != --key || ${4:---certificate} != --certificate ]]; then
    die "scripts/sign-release.sh FOLDER --key KEY.pem [--certificate CERT.pem]"
fi
folder=$1 key=$3 certificate=${5:-}
[[ -d $folder ]] || die "there is no folder $folder"
[[ -r $key ]] || die "there is no key $key"
public=$(mktemp)
trap 'rm -f "$public"' EXIT
openssl pkey -in "$key" -pubout -out "$public" || die "$key is no private key"
if [[ -n $certificate ]]; then
    [[ $(openssl x509 -in "$certificate" -noout -pubkey) == "$(cat "$public")" ]] || die "$key is not the key of $certificate"
fi

cd "$folder"
rm -f SHA256SUMS SHA256SUMS.sig SHA256SUMS.crt
files=()
for file in *; do
    [[ ! -f $file ]] || files+=("$file")
done
((${#files[@]} > 0)) || die "$folder is empty"
sums=$(if command -v sha256sum >/dev/null; then sha256sum -- "${files[@]}"; else shasum -a 256 -- "${files[@]}"; fi)
printf '%s\n' "$sums" >SHA256SUMS
cd "$OLDPWD"
[[ -z $certificate ]] || cp "$certificate" "$folder/SHA256SUMS.crt"
openssl dgst -sha256 -sign "$key" -out "$folder/SHA256SUMS.sig" "$folder/SHA256SUMS"
openssl dgst -sha256 -verify "$public" -signature "$folder/SHA256SUMS.sig" "$folder/SHA256SUMS" >/dev/null ||
    die "the signature cannot be verified: flash.sh takes ECDSA and RSA keys"
printf 'signed %s files in %s\n' "${#files[@]}" "$folder"
