# shellcheck shell=bash disable=SC2034,SC2154 # the parts of flash.sh share its names
# A Jetson on a USB cable: checks what can be checked, puts the site's settings into the archive's ESP image, and hands
# over to the archive's own initrd-flash (meta-tegra, the only supported way from L4T R39.2 on).
#
# Tested with made-up archives and a fake initrd-flash. It has never been tried on a Jetson.

# Recovery mode of the Orin family: vendor 0955, product 7x23 (NVIDIA, Jetson Linux Developer Guide, "Flashing Support").
readonly RECOVERY='0955:7[0-9a-f]23'

# What initrd-flash and its helpers call.
readonly JETSON_TOOLS="dtc:device-tree-compiler cpp:cpp sgdisk:gdisk udisksctl:udisks2 udevadm:udev lsusb:usbutils
    bmaptool:bmap-tools tar:tar getopt:util-linux mcopy:mtools openssl:openssl"

check_jetson_tools() {
    local pair missing='' packages=''
    [[ $(uname -s) == Linux ]] || refuse "$E_JETSON" platform "a Jetson is flashed from Linux on x86-64: NVIDIA's tools run nowhere else"
    [[ $(uname -m) == x86_64 ]] || refuse "$E_JETSON" platform "a Jetson is flashed from x86-64: NVIDIA's tools run on nothing else"
    for pair in $JETSON_TOOLS; do
        have "${pair%%:*}" || missing="$missing ${pair%%:*}" packages="$packages ${pair#*:}"
    done
    python3 -c 'import yaml' 2>/dev/null || missing="$missing python3-yaml" packages="$packages python3-yaml"
    [[ -z $missing ]] || refuse "$E_TOOL" missing_tool "missing:$missing. Debian, Ubuntu: sudo apt install$packages"
}

# Traps that cost others an evening: said, not refused.
warn_of_traps() {
    if ((EUID != 0)) && ! grep -rqs 0955 /etc/udev/rules.d /usr/lib/udev/rules.d; then
        say "  note: no udev rule for vendor 0955; initrd-flash will call sudo"
    fi
    if have gsettings && [[ $(gsettings get org.gnome.desktop.media-handling automount 2>/dev/null) == true ]]; then
        say "  note: the desktop mounts new disks by itself, which disturbs the flashing: gsettings set org.gnome.desktop.media-handling automount false"
    fi
    say "  note: plug the cable into the computer itself, not into a hub"
}

check_recovery_mode() {
    local found count
    found=$(lsusb 2>>"$log" | grep -Ei "ID $RECOVERY" || true)
    count=$(grep -c . <<<"$found" || true)
    if ((count == 0)); then
        local other='there is no device of NVIDIA on USB'
        ! lsusb 2>/dev/null | grep -qi 'ID 0955:' || other='there is a device of NVIDIA, but not in recovery mode'
        refuse "$E_JETSON" no_recovery "no Jetson in recovery mode: $other. Hold Force Recovery (or bridge FC REC and GND), press Reset, let go; the cable is on the port for flashing"
    fi
    ((count == 1)) || [[ " ${jetson_arguments[*]-} " == *" --usb-instance "* ]] ||
        refuse "$E_JETSON" ambiguous "$count Jetsons are in recovery mode: leave one, or name it: -- --usb-instance 1-2"
    say "  in recovery mode: ${found#*: }"
}

find_archive() {
    if [[ -d $image ]]; then
        local found=() file
        for file in "$image"/*.tegraflash-tar "$image"/*.tegraflash-tar.* "$image"/*.tegraflash.tar.*; do
            [[ ! -f $file ]] || found+=("$file")
        done
        ((${#found[@]} == 1)) || refuse "$E_IMAGE" ambiguous "$image has ${#found[@]} tegraflash archives: name one"
        image=${found[0]}
    fi
    [[ -r $image && -f $image ]] || refuse "$E_IMAGE" not_found "there is no archive $image"
    release=$(cd "$(dirname "$image")" && pwd)
    image=$release/$(basename "$image")
    case $image in
    *.zst) unpack=(zstd -qdc) && need zstd zstd ;;
    *.xz) unpack=(xz -dc) && need xz xz-utils ;;
    *.gz) unpack=(gzip -dc) ;;
    *) unpack=(cat) ;;
    esac
}

unpack_archive() {
    local free wanted
    # Beside the archive's own folder: tens of GB are no use of a memory disk. It goes again at the end.
    archive=$(mktemp -d "${FLASH_JETSON_DIR:-/var/tmp}/synoptic-jetson.XXXXXX")
    throw_away=$archive
    wanted=$(unpacked 2>>"$log" | wc -c) || refuse "$E_IMAGE" unpack "$image cannot be unpacked"
    # Its ext4 image is sparse in the archive and whole for the flashing tools, hence twice.
    free=$(($(df -Pk "$archive" | awk 'NR == 2 { print $4 }') * 1024))
    ((free > 2 * wanted)) || refuse "$E_JETSON" space "$((2 * wanted)) bytes are needed in $(dirname "$archive"), $free are free: FLASH_JETSON_DIR names another folder"
    (set -o pipefail && unpacked | tar -xf - -C "$archive") 2>>"$log" || refuse "$E_IMAGE" unpack "$image is no tar archive (details in $log)"
    [[ -x $archive/initrd-flash && -r $archive/.env.initrd-flash ]] ||
        refuse "$E_IMAGE" not_tegraflash "$image has no initrd-flash: is it an archive of meta-tegra?"
    [[ -z $site || -r $archive/esp.img ]] ||
        refuse "$E_IMAGE" no_esp "$image has no esp.img, so the site's settings have no place"
}

flash_jetson() {
    begin prerequisites "Checking this computer"
    check_jetson_tools
    begin verify "Checking $image"
    find_archive
    verify_signature
    verify_sum "$image"
    prepare_site
    begin recovery "Looking for the Jetson"
    check_recovery_mode
    warn_of_traps
    if [[ -n $dry_run ]]; then
        say "Would flash the Jetson from $image${site:+, with the settings of $site}. Nothing was written."
        event dry_run target jetson
        return
    fi
    target=jetson target_text="the Jetson in recovery mode"
    confirm
    begin unpacking "Unpacking"
    unpack_archive
    inject "$archive/esp.img" 0
    begin writing "Handing over to initrd-flash; this takes 5 to 15 minutes"
    started_writing=1
    local status=0
    (cd "$archive" && ./initrd-flash ${jetson_arguments[@]+"${jetson_arguments[@]}"}) >>"$log" 2>&1 9>&- || status=$?
    cat "$archive"/log.initrd-flash.* >>"$log" 2>/dev/null || true
    ((status == 0)) || refuse "$E_JETSON" initrd_flash "initrd-flash ended with $status: its log is in $log. Reset the Jetson into recovery mode and try again, without a USB hub"
    done=1
    begin "done" "Done: the Jetson starts by itself."
}
