#!/usr/bin/env bash
# Puts a Synoptic image on a disk, safely: ./flash.sh --help. The parts are in scripts/flash.
# bash 3.2 and Python 3.9, for macOS: no associative arrays, no mapfile, and an empty array is written ${a[@]+"${a[@]}"}.
# shellcheck source-path=SCRIPTDIR/scripts/flash disable=SC2034,SC2154 # the parts share its names
set -euo pipefail

version=1
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/scripts/flash" && pwd)
source "$here/common.sh"
source "$here/options.sh"
source "$here/verify.sh"
source "$here/image.sh"
source "$here/write.sh"
source "$here/inject.sh"
source "$here/qemu.sh"
source "$here/jetson.sh"

started_writing=
done=
work=
throw_away=

# Secrets of the site are in $work while this runs.
clean_up() {
    local status=$?
    [[ -z $work ]] || rm -rf "$work"
    [[ -z $throw_away ]] || rm -rf "$throw_away"
    if [[ -n $started_writing && -z $done ]]; then
        event incomplete target "$target"
        printf '%s was not written to its end: do not use it.\n' "$target" >&2
    fi
    exit "$status"
}

make_work() {
    local base=${XDG_RUNTIME_DIR:-${TMPDIR:-/tmp}} # as a rule memory, not a disk
    [[ -w $base ]] || base=/tmp
    work=$(umask 077 && mktemp -d "$base/synoptic-flash.XXXXXX")
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
}

# Everything that must be right before the first byte is written.
check_all() {
    need openssl openssl
    begin verify "Checking $image"
    find_image
    verify_signature
    verify_sum "$image"
    [[ -z $bmap ]] || verify_sum "$bmap"
    measure_image
    prepare_site
    begin target "Checking $target"
    check_target
    choose_writer
}

flash() {
    check_all
    if [[ -n $dry_run ]]; then
        say "Would write $image to $target_text by $writer${site:+, with the settings of $site}. Nothing was written."
        event dry_run target "$target" writer "$writer"
        return
    fi
    confirm
    lock_target
    write_target
    read_back
    inject "$target" "$esp_offset"
    done=1
    begin "done" "Done: ${target_text%, which exists} is ready."
}

# Into a file of one's own, or one that goes again.
try_in_qemu() {
    # The machine's console; with --json it would be among the events.
    qemu_output=1
    if [[ -n $json ]]; then qemu_output=2; fi
    if [[ -z $target ]]; then
        throw_away=$(mktemp -d "${TMPDIR:-/tmp}/synoptic-qemu.XXXXXX")
        target=$throw_away/disk.img
        [[ -n $file_size ]] || file_size=8G
    fi
    target_is_file || refuse "$E_TARGET" not_a_file "--qemu writes a file, not a disk"
    flash
    [[ -n $dry_run ]] || boot_in_qemu
}

read_options "$@"
have python3 || refuse "$E_TOOL" missing_tool "python3 is missing. Debian, Ubuntu: sudo apt install python3. macOS: xcode-select --install"
if [[ $mode == list ]]; then
    if [[ -n $json ]]; then python disks list --json; else python disks list; fi
    exit
fi
open_outputs
make_work
case $mode in
flash) flash ;;
qemu) try_in_qemu ;;
jetson) flash_jetson ;;
esac
[[ -n $json ]] || printf 'Log: %s\n' "$log"
