#!/usr/bin/env bash
# The page: scripts/ui.sh build|check|test|e2e. `build` does nothing where the sources are as they were at the last build.
#
# It writes daemon/ui/dist, which cargo embeds, and daemon/ui/dist.stamp, a hash of what it was built from.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

ui=daemon/ui
[[ -e $ui/package.json ]] || die "$ui/package.json is not there"

sources_hash() {
    find "$ui" \( -name node_modules -o -path "$ui/dist" -o -path "$ui/player/dist" -o -name dist.stamp \) -prune -o -type f -print0 |
        LC_ALL=C sort -z | xargs -0 sha256sum | sha256sum | cut -d ' ' -f 1
}

# Whether the lock file was made from this package.json.
locked() {
    (cd "$ui" && node -e '
        const [pack, lock] = ["package", "package-lock"].map((f) => JSON.parse(fs.readFileSync(f + ".json")));
        const wants = (p) => JSON.stringify([p.dependencies ?? {}, p.devDependencies ?? {}]);
        process.exit(wants(pack) === wants(lock.packages[""]) ? 0 : 1);
    ')
}

# Installs what the lock file says, where node_modules was made from another one. Not `npm ci`: that refuses a lock
# file that lacks the optional packages of other platforms, which is what npm writes where the registry at hand does
# not serve them. `--no-save` installs the same versions by the same hashes and leaves the lock file alone.
install() {
    local want stamp=$ui/node_modules/.synoptic-lock
    want=$(sha256sum <"$ui/package-lock.json")
    [[ -e $stamp && $(<"$stamp") == "$want" ]] && return
    scripts/setup.sh ui
    locked || die "$ui/package-lock.json is not that of package.json: run npm install in $ui and commit it"
    rm -rf "$ui/node_modules"
    npm --prefix "$ui" install --no-save --no-audit --no-fund --loglevel=error
    [[ $(sha256sum <"$ui/package-lock.json") == "$want" ]] || die "npm has changed $ui/package-lock.json"
    echo "$want" >"$stamp"
}

case ${1:-build} in
build)
    now=$(sources_hash)
    if [[ -e $ui/dist/index.html && -e $ui/dist.stamp && $(<"$ui/dist.stamp") == "$now" ]]; then
        exit 0
    fi
    install
    rm -f "$ui/dist.stamp"
    npm --prefix "$ui" run --silent build
    [[ -e $ui/dist/index.html ]] || die "npm run build wrote no $ui/dist/index.html"
    echo "$now" >"$ui/dist.stamp"
    ;;
check | test | e2e)
    install
    npm --prefix "$ui" run --silent "$1"
    ;;
*) die "build, check, test or e2e, not \`$1\`" ;;
esac
