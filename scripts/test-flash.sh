#!/usr/bin/env bash
# flash.sh on files, loop devices and fakes, and the first boot's scripts in folders: hw-tests/flash.
# scripts/test-flash.sh [TEST...]: some of them only, such as test_write.Loops.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

if [[ $(uname -s) != Linux ]]; then
    say "SKIPPED: flash.sh: its tests make images with Linux's tools"
    exit 0
fi
scripts/setup.sh flash

FLASH_TEST_DIR=$(mktemp -d "${TMPDIR:-/tmp}/synoptic-flash-test.XXXXXX")
export FLASH_TEST_DIR
other=
clean_up() {
    [[ -z $other ]] || kill "$other" 2>/dev/null || true
    local device file
    # Loop devices that a test left behind: those of its own folder, no others.
    while read -r device file; do
        [[ $file != "$FLASH_TEST_DIR"/* ]] || losetup --detach "$device" || true
    done < <(losetup --list --noheadings --output NAME,BACK-FILE 2>/dev/null || true)
    rm -rf "$FLASH_TEST_DIR"
}
trap clean_up EXIT
cd hw-tests/flash
if (($#)); then
    python3 -B -m unittest --buffer "$@"
    exit
fi
# The half of the time goes to test_write: it runs beside the others.
python3 -B -m unittest --buffer test_write 2>"$FLASH_TEST_DIR/write.txt" &
other=$!
status=0
python3 -B -m unittest --buffer test_boot test_disks test_jetson test_site test_tegra || status=1
wait "$other" || status=1
other=
cat "$FLASH_TEST_DIR/write.txt" >&2
exit "$status"
