# shellcheck shell=bash disable=SC2034,SC2154 # the parts of flash.sh share its names
# The image: where it is, how it is unpacked, how large it is.

# From IMAGE, a file or a folder with one: image, release (its folder), bmap (or nothing).
find_image() {
    if [[ -d $image ]]; then
        local found=() file
        for file in "$image"/*.img "$image"/*.wic "$image"/*.raw "$image"/*.img.* "$image"/*.wic.* "$image"/*.raw.*; do
            case $file in *.bmap | *.sig | *.sha256) continue ;; esac
            [[ ! -f $file ]] || found+=("$file")
        done
        ((${#found[@]} == 1)) || refuse "$E_IMAGE" ambiguous "$image has ${#found[@]} images: name one"
        image=${found[0]}
    fi
    [[ -r $image && -f $image ]] || refuse "$E_IMAGE" not_found "there is no image $image"
    release=$(cd "$(dirname "$image")" && pwd)
    image=$release/$(basename "$image")
    case $image in
    *.zst) unpack=(zstd -qdc) && need zstd zstd ;;
    *.xz) unpack=(xz -dc) && need xz xz-utils ;;
    *.gz) unpack=(gzip -dc) ;;
    *) unpack=(cat) ;;
    esac
    bmap=
    local candidate
    for candidate in "$image.bmap" "${image%.*}.bmap"; do
        if [[ -f $candidate ]]; then
            bmap=$candidate
            break
        fi
    done
}

unpacked() { "${unpack[@]}" "$image"; }

# Sets image_size, written_size, esp_offset and sector, in bytes.
measure_image() {
    local said
    # To its end, so that an archive that breaks off is found before anything is written.
    if ! said=$(unpacked 2>>"$log" | python image measure ${bmap:+--bmap "$bmap"}); then
        # Two numbers: all that came was measured, it was the unpacking that broke off.
        [[ $said == *[!0-9\ ]* ]] || said="$image cannot be unpacked: it is damaged (details in $log)"
        refuse "$E_IMAGE" unfit "$said"
    fi
    read -r image_size written_size <<<"$said"
    # Only the beginning is read: that the unpacker is cut off is no failure.
    said=$(set +o pipefail && unpacked 2>/dev/null | python image esp) || refuse "$E_IMAGE" no_esp "$image: $said"
    read -r esp_offset _ sector <<<"$said"
    say "  $(basename "$image"): $image_size bytes, of which $written_size are written"
}
