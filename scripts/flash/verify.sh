# shellcheck shell=bash disable=SC2034,SC2154 # the parts of flash.sh share its names
# Signature and sums, before anything is written.
#
# SHA256SUMS.sig is a signature of SHA256SUMS, ECDSA or RSA with SHA-256: what `openssl dgst` of every Debian, Ubuntu and
# macOS (LibreSSL, which cannot verify Ed25519 from the command line) can check. Trusted are the public keys and
# certificates in scripts/flash/keys and those of --trust. A release may bring its signer's certificate,
# SHA256SUMS.crt: it must be for code signing and issued by a trusted certificate.

signed_by() { # signed_by PUBLIC-KEY-FILE
    openssl dgst -sha256 -verify "$1" -signature "$release/SHA256SUMS.sig" "$release/SHA256SUMS" >/dev/null 2>&1
}

# Whether the release's own certificate was issued by CERTIFICATE and may sign code.
issued_by() { # issued_by CERTIFICATE
    # Without these two the system's own authorities would be trusted as well.
    SSL_CERT_DIR=/nonexistent SSL_CERT_FILE=/nonexistent openssl verify -CAfile "$1" "$release/SHA256SUMS.crt" >>"$log" 2>&1 &&
        openssl x509 -in "$release/SHA256SUMS.crt" -noout -text 2>/dev/null |
        grep -A 1 'X509v3 Extended Key Usage' | grep -q 'Code Signing'
}

verify_signature() {
    local anchor anchors=0 key=$work/signer.pem
    [[ -r $release/SHA256SUMS && -r $release/SHA256SUMS.sig ]] || refuse "$E_SIGNATURE" unsigned \
        "$release has no SHA256SUMS with a SHA256SUMS.sig: take the whole release folder. Your own build is signed by scripts/sign-release.sh"
    for anchor in "$here"/keys/*.pem ${trust[@]+"${trust[@]}"}; do
        [[ -e $anchor || $anchor != "$here/keys/*.pem" ]] || continue
        [[ -r $anchor ]] || refuse "$E_SIGNATURE" no_key "$anchor cannot be read"
        anchors=$((anchors + 1))
        if grep -q 'BEGIN CERTIFICATE' "$anchor"; then
            openssl x509 -in "$anchor" -noout -pubkey >"$key" 2>>"$log" || refuse "$E_SIGNATURE" no_key "$anchor is no certificate"
            if signed_by "$key"; then
                say "  signed by $anchor"
                return
            fi
            if [[ -r $release/SHA256SUMS.crt ]] && issued_by "$anchor"; then
                openssl x509 -in "$release/SHA256SUMS.crt" -noout -pubkey >"$key" 2>>"$log"
                if signed_by "$key"; then
                    say "  signed by $(openssl x509 -in "$release/SHA256SUMS.crt" -noout -subject), issued by $anchor"
                    return
                fi
            fi
        elif signed_by "$anchor"; then
            say "  signed by $anchor"
            return
        fi
    done
    ((anchors > 0)) || refuse "$E_SIGNATURE" no_key \
        "no key is trusted: put the publisher's public key into scripts/flash/keys, or name it with --trust FILE"
    refuse "$E_SIGNATURE" signature \
        "SHA256SUMS is signed by none of the $anchors trusted keys: do not use this release (or name its key with --trust FILE, if you know whose it is)"
}

# verify_sum FILE: its sum must be in SHA256SUMS, once.
verify_sum() {
    local name wanted found
    name=$(basename "$1")
    wanted=$(awk -v name="$name" '{ file = $0; sub(/^[0-9a-fA-F]+[ ][ *]/, "", file); if (file == name) print $1 }' "$release/SHA256SUMS")
    [[ $wanted =~ ^[0-9a-fA-F]{64}$ ]] || refuse "$E_SIGNATURE" not_listed "SHA256SUMS says nothing, or more than one thing, of $name"
    found=$(python image sum "$1") || refuse "$E_IMAGE" unreadable "$1 cannot be read"
    [[ $(tr 'A-F' 'a-f' <<<"$wanted") == "$found" ]] || refuse "$E_SIGNATURE" checksum \
        "$name is damaged: its SHA-256 is $found, signed is $wanted. Copy or download it again"
    say "  $name: its SHA-256 is right"
}
