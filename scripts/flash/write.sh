# shellcheck shell=bash disable=SC2034,SC2154 # the parts of flash.sh share its names
# The target: whether it may be written, writing it, reading it back.

target_is_file() { [[ $target != /dev/* ]]; }

# Refuses what must not be overwritten. The decision is disks.py's.
check_target() {
    local options=() said status=0 reason text
    if target_is_file; then
        [[ ! -d $target ]] || refuse "$E_TARGET" not_a_disk "$target is a folder"
        [[ -d $(dirname "$target") ]] || refuse "$E_TARGET" not_found "there is no folder $(dirname "$target")"
        [[ ! -e $target || ! $target -ef $image ]] || refuse "$E_TARGET" same "$target is the image itself"
        [[ -z $file_size ]] || (($(bytes "$file_size") >= image_size)) || refuse "$E_TARGET" too_small "--size $file_size is less than the image needs, $image_size bytes"
        target_text="the file $target"
        [[ ! -s $target ]] || target_text="$target_text, which exists"
        say "  target: $target_text"
        return
    fi
    [[ -z $file_size ]] || usage "--size is for files; a disk has its own"
    [[ -z $allow_fixed ]] || options+=(--allow-fixed "$allow_fixed")
    [[ -z $dry_run ]] || options+=(--no-open)
    said=$(python disks check "$target" --size "$image_size" --sector "$sector" ${options[@]+"${options[@]}"} 2>&1) || status=$?
    if ((status == 0)); then
        target_text=${said#*$'\t'}
        say "  target: $target_text"
        return
    fi
    ((status == E_TARGET)) || refuse "$E_TARGET" unknown "the disks of this computer could not be read: $said"
    # Every reason is told; the first is the event's.
    while IFS=$'\t' read -r reason text; do
        record "refused ($reason): $text"
        event refused reason "$reason" text "$text"
        printf 'refused: %s\n' "$text" >&2
    done <<<"$said"
    IFS=$'\t' read -r reason text <<<"$said"
    refuse "$E_TARGET" "$reason" "$target is not written"
}

bytes() { # bytes SIZE: 16G and the like, powers of 1024
    local number=${1%[KMGT]} unit
    case ${1##*[0-9]} in K) unit=1 ;; M) unit=2 ;; G) unit=3 ;; T) unit=4 ;; *) unit=0 ;; esac
    echo $((number * 1024 ** unit))
}

# The device (or the serial of a built-in one) must be typed.
confirm() {
    local wanted=$target answer=
    [[ -z $yes ]] || return 0
    # A new file costs nothing.
    if [[ $mode != jetson ]] && target_is_file && [[ ! -s $target ]]; then return 0; fi
    [[ -z $allow_fixed ]] || wanted=$allow_fixed
    printf 'Everything on %s will be lost.\nType %s to go on: ' "$target_text" "$wanted" >&2
    if [[ -n $stdin_taken ]]; then
        # shellcheck disable=SC2162 # a backslash typed is none of a device's
        { read answer </dev/tty; } 2>/dev/null || true
    else
        IFS= read -r answer || true
    fi
    [[ $answer == "$wanted" ]] || refuse "$E_CONFIRM" not_confirmed "not confirmed; nothing was written"
}

choose_writer() {
    if [[ $writer == auto ]]; then
        if [[ -n $bmap ]]; then writer=bmap; else writer="dd"; fi
    fi
    [[ $writer == dd || -n $bmap ]] || refuse "$E_IMAGE" bmap "--writer bmap needs a block map beside the image"
    [[ $writer == bmap ]] || written_size=$image_size
}

# Not bmaptool: macOS has none, and Debian's 3.6 can neither read a pipe nor tell a program how far it is.
write_by_bmap() (
    set -o pipefail
    unpacked 2>>"$log" | python image write "$target" --bmap "$bmap" --total "$image_size"
)

write_by_dd() (
    set -o pipefail
    local options=(ibs=65536 obs=4194304)
    [[ $(uname -s) == Darwin ]] || options+=(conv=fsync)
    unpacked 2>>"$log" | python image pump --total "$image_size" |
        dd "of=$target" "${options[@]}" 2>>"$log"
)

# While flash.sh holds this lock, udev does not look at the disk, so no desktop mounts what appears on it
# (systemd: "Locking block device access").
lock_target() {
    if ! target_is_file && have flock; then
        exec 9<"$target"
        flock --exclusive --nonblock 9 || refuse "$E_TARGET" in_use "another program has locked $target"
    fi
}

write_target() {
    begin writing "Writing by $writer"
    started_writing=1
    if target_is_file; then
        # Its maker's only: site settings hold secrets.
        rm -f "$target"
        (umask 077 && : >"$target") || refuse "$E_WRITE" write "$target cannot be made"
    elif [[ $(uname -s) == Darwin ]]; then
        # The raw device is many times faster, and nothing of the disk may be mounted.
        diskutil unmountDisk "$target" >>"$log" 2>&1 || refuse "$E_WRITE" write "$target could not be unmounted"
        target=${target/\/dev\/disk//dev/rdisk}
    fi
    case $writer in
    bmap) write_by_bmap ;;
    dd) write_by_dd ;;
    esac || refuse "$E_WRITE" write "writing $target failed, it is not usable now; try again, or another disk (details in $log)"
    flush "$target"
    if target_is_file && [[ -n $file_size ]]; then
        python3 -c 'import os, sys; os.truncate(sys.argv[1], int(sys.argv[2]))' "$target" "$(bytes "$file_size")"
    fi
}

read_back() {
    local said options=()
    begin reading_back "Reading back"
    [[ $writer != bmap ]] || options+=(--bmap "$bmap")
    if ! target_is_file && have blockdev; then blockdev --flushbufs "$target" 2>>"$log" || true; fi
    said=$(set -o pipefail && unpacked 2>>"$log" |
        python image compare "$target" --total "$image_size" ${options[@]+"${options[@]}"}) ||
        refuse "$E_READBACK" readback "${said:-the image or $target cannot be read}: the disk does not keep what is written. Use another"
    [[ $said == "$written_size" ]] ||
        refuse "$E_READBACK" readback "only $said of $written_size bytes were read back"
    say "  $said bytes are as they should be"
    event compared bytes "$said"
}
