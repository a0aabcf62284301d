# shellcheck shell=bash disable=SC2034,SC2154 # the parts of flash.sh share its names
# Exit codes, messages, events and the log of flash.sh. bash 3.2: what macOS has.

readonly E_USAGE=2 E_TOOL=3 E_TARGET=4 E_SIGNATURE=5 E_IMAGE=6 E_SITE=7 E_CONFIRM=8 E_WRITE=9 E_READBACK=10 \
    E_INJECT=11 E_JETSON=12 E_QEMU=13

json=
log=/dev/null
step=start

have() { command -v "$1" >/dev/null 2>&1; }
python() { python3 "$here/$1.py" "${@:2}"; }

# json_text TEXT: as a JSON text, with its quotes.
json_text() {
    local text=$1
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    text=${text//$'\n'/\\n}
    text=${text//$'\t'/\\t}
    text=${text//[[:cntrl:]]/ }
    printf '"%s"' "$text"
}

# event NAME [KEY VALUE]...: one line of JSON on standard output, with --json only.
event() {
    [[ -n $json ]] || return 0
    local line
    line="{\"event\":$(json_text "$1")"
    shift
    while (($#)); do
        line="$line,$(json_text "$1"):$(json_text "$2")"
        shift 2
    done
    printf '%s}\n' "$line" >&3
}

record() { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*" >>"$log"; }

# say TEXT: for people, and the log.
say() {
    record "$*"
    [[ -n $json ]] || printf '%s\n' "$*" >&3
}

# begin STEP TEXT: a step of the work begins.
begin() {
    step=$1
    event step step "$1" text "$2"
    say "$2"
}

# refuse CODE REASON TEXT: the end, with a reason that programs know and a text for people.
refuse() {
    record "error ($2): $3"
    event error step "$step" reason "$2" code "$1" text "$3"
    printf 'error: %s\n' "$3" >&2
    exit "$1"
}

# flush PATH: what was written to it is on the disk after this.
flush() {
    # macOS knows only all of them.
    if [[ $(uname -s) == Linux ]]; then sync "$1"; else sync; fi
}

# need TOOL PACKAGE: a tool must be there.
need() {
    have "$1" || refuse "$E_TOOL" missing_tool \
        "$1 is missing. Debian, Ubuntu: sudo apt install $2. macOS: brew install $2"
}

# With --json nothing but events is on standard output, which is descriptor 3 from here on; what tools print is logged.
open_outputs() {
    exec 3>&1
    if [[ -n $json ]]; then
        export FLASH_PROGRESS=json
    elif [[ -t 2 ]]; then
        export FLASH_PROGRESS=tty
    else
        export FLASH_PROGRESS=
    fi
    if [[ -z $log_file ]]; then
        local folder=${XDG_STATE_HOME:-$HOME/.local/state}/synoptic
        mkdir -p "$folder" 2>/dev/null || folder=${TMPDIR:-/tmp}
        log_file=$folder/flash-$(date -u +%Y%m%dT%H%M%SZ)-$$.log
    fi
    (umask 077 && : >>"$log_file") 2>/dev/null || refuse "$E_USAGE" log "the log $log_file cannot be written: name another with --log FILE"
    log=$log_file
    record "flash.sh $version on $(uname -srm)"
}
