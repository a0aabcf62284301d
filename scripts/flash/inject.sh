# shellcheck shell=bash disable=SC2034,SC2154 # the parts of flash.sh share its names
# The site's settings: checked first, put on the ESP last. mtools writes FAT without mounting, so neither root (for a
# file) nor a mount is needed.

stdin_taken=

# Checks the site file and renders it into $work/synoptic-site.
prepare_site() {
    local said status=0
    [[ -n $site ]] || return 0
    begin site "Checking $site"
    need mcopy mtools
    [[ -r $site ]] || refuse "$E_SITE" not_found "there is no site file $site"
    # A secret may come from stdin: it is in no file and in no list of processes.
    local secret=
    if grep -Eq '^[[:space:]]*[A-Za-z_-]+[[:space:]]*=[[:space:]]*["'\'']-["'\'']' "$site"; then
        [[ -t 0 ]] || secret=$(cat)
        stdin_taken=1
    fi
    said=$(printf '%s' "$secret" | python site render "$site" "$work/synoptic-site" 2>&1) || status=$?
    if ((status == E_SITE)); then
        local line
        while IFS= read -r line; do
            event mistake text "$line"
            printf '%s\n' "$line" | tee -a "$log" >&2
        done <<<"$said"
        refuse "$E_SITE" site "$site has mistakes, see above; nothing was written"
    fi
    ((status == 0)) || refuse "$E_SITE" site "$site: $said"
    say "  $(find "$work/synoptic-site" -type f | wc -l | tr -d ' ') files for the first boot"
}

# inject INTO OFFSET: onto the FAT file system that begins at OFFSET bytes of INTO.
inject() {
    local into=$1 offset=$2
    [[ -n $site ]] || return 0
    begin injecting "Putting the site's settings on it"
    # Without mtools' own lock: flash.sh holds the disk's already.
    printf 'mtools_skip_check=1\ndrive s: file="%s" offset=%s nolock\n' "$into" "$offset" >"$work/mtoolsrc"
    export MTOOLSRC=$work/mtoolsrc
    mdir s: >>"$log" 2>&1 || refuse "$E_INJECT" inject "the ESP of $into cannot be read as FAT (details in $log)"
    if mdir s:/synoptic-site >/dev/null 2>&1; then
        mdeltree s:/synoptic-site >>"$log" 2>&1 || refuse "$E_INJECT" inject "older settings on $into cannot be removed"
    fi
    mcopy -s -Q "$work/synoptic-site" s:/ >>"$log" 2>&1 </dev/null || refuse "$E_INJECT" inject "the settings cannot be written (details in $log)"
    flush "$into"
    if [[ -b $into ]] && have blockdev; then blockdev --flushbufs "$into" 2>>"$log" || true; fi
    (mcopy -s -n s:/synoptic-site "$work/back" </dev/null && diff -r "$work/synoptic-site" "$work/back") >>"$log" 2>&1 ||
        refuse "$E_INJECT" inject "the settings read back differently: use another disk"
    rm -rf "$work/back"
    say "  written and read back"
    event injected files "$(find "$work/synoptic-site" -type f | wc -l | tr -d ' ')"
}
