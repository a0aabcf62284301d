# shellcheck shell=bash
# Shared by the scripts beside it: `source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"`. Leaves the shell in the
# repository's root, with the project's own tools first in PATH.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

# Tools that setup installs without the system's package manager. CI keeps them outside its clone.
tools=${SYNOPTIC_TOOLS:-$root/.tools}
PATH=$tools/bin:$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
export PATH

# Where cargo puts what it builds.
# shellcheck disable=SC2034 # used by those who source this
target=${CARGO_TARGET_DIR:-$root/target}

say() { printf '%s\n' "$*"; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

# at_least HAVE WANT: whether version HAVE is WANT or newer.
at_least() { [[ $(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1) == "$2" ]]; }

# Names the library and the Python that setup.sh brought to those who look for them, unless they were named before.
onnxruntime() {
    local library=$tools/onnxruntime/libonnxruntime.so python=$tools/golden/bin/python
    if [[ -z ${ORT_DYLIB_PATH:-} && -e $library ]]; then export ORT_DYLIB_PATH=$library; fi
    if [[ -z ${SYNOPTIC_PYTHON:-} && -e $tools/golden/ready ]]; then export SYNOPTIC_PYTHON=$python; fi
}

# Everything that tests are and run. The tests are among it wherever a program is wanted, for with them what is depended on has
# other features: built apart, half of it would be built twice.
build_all() { cargo build --workspace --locked --quiet --lib --bins --examples --tests; }

failed=()
# stage NAME COMMAND...: runs it, says how long it took, remembers a failure and goes on.
# The command is no part of a condition, so that `set -e` holds inside a function too.
stage() {
    local name=$1 begin=$EPOCHSECONDS status=0
    shift
    say "── $name"
    set +e
    (
        set -e
        "$@"
    )
    status=$?
    set -e
    if ((status == 0)); then
        say "── $name: ok, $((EPOCHSECONDS - begin)) s"
    else
        failed+=("$name")
        say "── $name: FAILED (exit $status), $((EPOCHSECONDS - begin)) s"
    fi
}

# stages_beside NAME COMMAND NAME COMMAND...: the same, all at once; what each says comes when it has ended.
stages_beside() {
    local folder name begin=$EPOCHSECONDS status
    local -a names=() processes=()
    folder=$(mktemp -d)
    while (($#)); do
        "$2" >"$folder/$1" 2>&1 &
        names+=("$1")
        processes+=($!)
        shift 2
    done
    for i in "${!names[@]}"; do
        name=${names[i]} status=0
        wait "${processes[i]}" || status=$?
        say "── $name"
        cat "$folder/$name"
        if ((status == 0)); then
            say "── $name: ok, $((EPOCHSECONDS - begin)) s since all began"
        else
            failed+=("$name")
            say "── $name: FAILED (exit $status), $((EPOCHSECONDS - begin)) s since all began"
        fi
    done
    rm -rf "$folder"
}

# Ends the script: 1 and the list when a stage failed.
finish() {
    ((${#failed[@]} == 0)) && exit 0
    local list
    list=$(printf ', %s' "${failed[@]}")
    die "failed: ${list:2}"
}
