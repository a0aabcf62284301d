#!/usr/bin/env bash
# Looks at the Yocto layer as far as a machine without a build farm can: `make yocto-check LAYERS=FOLDER [MACHINES="…"]`.
#
# FOLDER holds checkouts of bitbake, openembedded-core, meta-openembedded, meta-rauc and meta-tegra at the revisions of
# yocto/kas. For each machine every recipe is parsed, the task graph of image and bundle is resolved, and the crates'
# sources are compared with Cargo.lock. Nothing is fetched or built. BitBake refuses to run as root: it then runs as `nobody`.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

[[ -n ${LAYERS:-} ]] || die "LAYERS is not set: make yocto-check LAYERS=folder with bitbake, openembedded-core, …"
layers=$(cd "$LAYERS" && pwd)
read -r -a machines <<<"${MACHINES:-qemux86-64 qemuarm64 jetson-orin-nano-devkit-nvme jetson-agx-orin-devkit}"
for name in bitbake openembedded-core meta-openembedded meta-rauc; do
    [[ -d $layers/$name ]] || die "there is no $name in $layers"
done
scripts/setup.sh yocto
# BitBake takes no other one.
locale -a | grep -qix 'en_US.utf-\?8' || localedef -i en_US -f UTF-8 en_US.UTF-8

# Kept between runs: BitBake's cache of parsed recipes, minutes for each machine.
work=${YOCTO_WORK:-$root/target/yocto}
mkdir -p "$work"

# The revisions that kas pins are those that were looked at.
pinned() {
    local name commit
    while read -r name commit; do
        [[ -d $layers/$name/.git ]] || continue
        [[ $(git -c safe.directory='*' -C "$layers/$name" rev-parse HEAD) == "$commit" ]] ||
            die "$name is not at $commit, which yocto/kas pins"
    done < <(awk '/^  [a-z-]+:$/ { name = substr($1, 1, length($1) - 1) } $1 == "commit:" { print name, $2 }' yocto/kas/base.yml yocto/kas/tegra.yml)
}

# configure MACHINE: a build folder with the layers of yocto/kas, and nothing that asks the network.
configure() {
    local machine=$1 build=$work/$1 layer
    local -a list=("$layers/openembedded-core/meta")
    for layer in meta-oe meta-python meta-networking meta-multimedia; do
        list+=("$layers/meta-openembedded/$layer")
    done
    list+=("$layers/meta-rauc" "$root/yocto/meta-synoptic")
    [[ $machine != jetson-* ]] || list+=("$layers/meta-tegra")
    mkdir -p "$build/conf"
    {
        echo 'LCONF_VERSION = "7"'
        printf 'BBPATH = "%s"\n' "$build"
        echo 'BBFILES ?= ""'
        printf 'BBLAYERS = "%s"\n' "${list[*]}"
    } >"$build/conf/bblayers.conf"
    # Bundles are resolved, not signed: any file does for their key ring.
    mkdir -p "$work/keys"
    echo "none" >"$work/keys/ca.cert.pem"
    cat >"$build/conf/local.conf" <<CONF
MACHINE = "$machine"
DISTRO = "synoptic"
CONF_VERSION = "2"
BB_NO_NETWORK = "1"
# Its tools would be fetched before anything is parsed.
INHERIT:remove = "uninative"
RAUC_KEY_FILE = "/nonexistent/key.pem"
RAUC_CERT_FILE = "/nonexistent/cert.pem"
RAUC_KEYRING_FILE = "ca.cert.pem"
FILESEXTRAPATHS:prepend:pn-rauc-conf := "$work/keys:"
CONF
}

# as_builder COMMAND...: as this user, or as `nobody` where that is root.
as_builder() {
    local -a user=()
    if ((EUID == 0)); then
        chown -R nobody "$work"
        user=(setpriv --reuid nobody --clear-groups --no-new-privs)
    fi
    "${user[@]}" env -i HOME="$work" LANG=en_US.UTF-8 LC_ALL=en_US.UTF-8 TERM=dumb \
        PATH="$layers/bitbake/bin:$layers/openembedded-core/scripts:/usr/bin:/bin:/usr/sbin:/sbin" \
        GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*' \
        BB_ENV_PASSTHROUGH_ADDITIONS="" "$@"
}

machine_check() {
    local machine=$1 build=$work/$1
    configure "$machine"
    cd "$build"
    rm -f pn-buildlist task-depends.dot recipe-depends.dot
    as_builder bitbake -g synoptic-image synoptic-image-dev synoptic-bundle
    [[ -s pn-buildlist ]] || die "no task graph for $machine"
    grep -qx synoptic pn-buildlist || die "the image of $machine does not hold the daemon"
    say "$machine: $(wc -l <pn-buildlist) recipes, $(wc -l <task-depends.dot) lines of tasks"

    # What BitBake will fetch is what Cargo.lock says, crate by crate.
    as_builder bitbake -e synoptic >environment
    python3 "$root/scripts/yocto-crates.py" environment "$root/Cargo.lock"
}

stage "revisions" pinned
for machine in "${machines[@]}"; do
    stage "$machine" machine_check "$machine"
done
finish
