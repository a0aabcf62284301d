#!/usr/bin/env bash
# Real V4L2: the daemon on two cameras of the kernel's test driver vivid, in a small QEMU machine (hw-tests/vivid), and,
# where its module can be built, on two of v4l2loopback that give MJPEG and H.264 as USB cameras do: vivid has neither.
#
# A stock kernel of the distribution is unpacked, not installed. The machine sees the host's /usr, read-only, for
# GStreamer, and one folder for the results. It is emulated (TCG): /dev/kvm is not asked for, so that it runs
# anywhere and always the same.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# The whole life of the machine. It takes 60 s on two free cores.
LIMIT_S=240

skip() {
    say "SKIPPED: V4L2 against vivid: $*"
    exit 0
}
[[ $(uname -m) == x86_64 ]] || skip "the machine is made of this host's programs, and only x86_64 is known here"
scripts/setup.sh build run
scripts/setup.sh vivid || skip "packages are missing and could not be installed (see above)"

# ---- kernel and modules, unpacked once

kernel=$tools/vivid
# The packages with a stock kernel and all its modules; the cloud flavours have no cameras.
kernel_packages() {
    local version
    version=$(apt-cache depends linux-image-amd64 2>/dev/null |
        sed -n 's/.*Depends: linux-image-\([0-9][^ ]*-amd64\)$/\1/p' | head -n 1)
    if [[ -n $version ]]; then
        echo "linux-image-$version"
        return
    fi
    version=$(apt-cache depends linux-image-generic 2>/dev/null |
        sed -n 's/.*Depends: linux-image-\([0-9][^ ]*-generic\)$/\1/p' | head -n 1)
    [[ -z $version ]] || echo "linux-image-$version linux-modules-$version linux-modules-extra-$version"
}

# v4l2loopback for the kernel VERSION that is unpacked in FOLDER/tree; fails where the distribution keeps its headers
# otherwise than Debian does.
build_loopback() {
    local version=$1 unpacked=$2 headers source packages
    mapfile -t packages < <(apt-cache depends "linux-headers-$version" 2>/dev/null | sed -n 's/.*Depends: \(linux-\(headers\|kbuild\).*\)$/\1/p')
    ((${#packages[@]})) || return 1
    mkdir "$unpacked/loopback"
    (cd "$unpacked/loopback" && apt-get -qq -o APT::Sandbox::User=root download "linux-headers-$version" "${packages[@]}" v4l2loopback-dkms) || return 1
    for package in "$unpacked"/loopback/*.deb; do
        dpkg-deb -x "$package" "$unpacked/loopback"
    done
    headers=$unpacked/loopback/usr/src/linux-headers-$version
    source=$(echo "$unpacked"/loopback/usr/src/v4l2loopback-*)
    # It names the folder in which dpkg would have put it.
    sed -i "s#/usr/src#$unpacked/loopback/usr/src#" "$headers/Makefile" || return 1
    make --silent -C "$headers" M="$source" modules >"$unpacked/loopback.log" 2>&1 || {
        tail -n 5 "$unpacked/loopback.log"
        return 1
    }
    cp "$source/v4l2loopback.ko" "$kernel/modules/"
    echo v4l2loopback.ko >>"$kernel/modules/list"
}

fetch_kernel() {
    local unpacked packages version module
    if ! have apt-get || ! have dpkg-deb; then
        skip "kernels come as Debian packages, and apt is not here"
    fi
    # A machine without package lists, or with old ones.
    ((EUID != 0)) || apt-get -qq update || say "apt-get update failed; going on with the lists there are"
    read -ra packages <<<"$(kernel_packages)"
    ((${#packages[@]})) || skip "apt knows no stock kernel (linux-image-amd64 or linux-image-generic); try apt-get update"
    say "unpacking ${packages[*]} into $kernel"
    unpacked=$(mktemp -d)
    # shellcheck disable=SC2064 # this very folder
    trap "rm -rf '$unpacked'" EXIT
    (cd "$unpacked" && apt-get -qq -o APT::Sandbox::User=root download "${packages[@]}") ||
        skip "${packages[*]} could not be downloaded"
    for package in "$unpacked"/*.deb; do
        dpkg-deb -x "$package" "$unpacked/tree"
    done
    [[ -e $unpacked/tree/lib/modules ]] || ln -s usr/lib "$unpacked/tree/lib"
    version=$(basename "$unpacked"/tree/lib/modules/*)
    depmod -b "$unpacked/tree" "$version"
    rm -rf "$kernel"
    mkdir -p "$kernel/modules"
    for module in virtio_pci 9pnet_virtio 9p vivid; do
        modprobe -d "$unpacked/tree" -S "$version" --show-depends "$module"
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
        plain=$(basename "$module")
        case $module in
        *.xz) xz -dc "$module" >"$kernel/modules/${plain%.xz}" ;;
        *.zst) zstd -qdc "$module" >"$kernel/modules/${plain%.zst}" ;;
        *) cp "$module" "$kernel/modules/" ;;
        esac
        plain=${plain%.xz}
        echo "${plain%.zst}" >>"$kernel/modules/list"
    done
    [[ -e $kernel/modules/vivid.ko ]] || skip "the kernel $version has no vivid"
    build_loopback "$version" "$unpacked" || say "v4l2loopback could not be built: MJPEG and H.264 of V4L2 are not tested"
    cp "$unpacked/tree/boot/vmlinuz-$version" "$kernel/vmlinuz"
    rm -rf "$unpacked"
    trap - EXIT
}
[[ -e $kernel/vmlinuz ]] || fetch_kernel

# ---- the machine

build_all
home=$target/vivid
out=$home/out
rm -rf "$home"
mkdir -p "$home"/tree/{bin,proc,sys,dev,usr,out,tmp,etc} "$out/plugins"
out=$(cd "$out" && pwd)
cp hw-tests/vivid/{guest.sh,synoptic.toml,coded.sh,coded.toml} "$out/"
# Without debug information a fifth as much crosses into the machine.
objcopy --strip-debug "$target/debug/synoptic" "$out/synoptic"

plugins=$(pkg-config --variable=pluginsdir gstreamer-1.0)
for plugin in app coreelements playback typefindfunctions videoconvert videoconvertscale \
    jpeg openh264 video4linux2 videoparsersbad videotestsrc x264; do
    [[ ! -e $plugins/libgst$plugin.so ]] || ln -s "$plugins/libgst$plugin.so" "$out/plugins/"
done
libraries=$(ldd "$out/synoptic" "$out"/plugins/*.so | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | xargs realpath | sort -u)
if outside=$(grep -v '^/usr/' <<<"$libraries"); then
    skip "the machine sees /usr only, and the daemon needs ${outside//$'\n'/ }"
fi
xargs -n 1 dirname <<<"$libraries" | sort -u | paste -sd : >"$out/libraries"

cp -r "$kernel/modules" "$home/tree/modules"
cp "$(command -v busybox)" "$home/tree/bin/busybox"
install -m 755 hw-tests/vivid/init "$home/tree/init"
for link in lib lib64; do
    ln -s "usr/$link" "$home/tree/$link"
done
(cd "$home/tree" && find . | cpio --quiet -o -H newc) | gzip -1 >"$home/initrd.gz"

machine=
cleanup() {
    [[ -z $machine ]] || kill -KILL "$machine" 2>/dev/null || true
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
begin=$EPOCHSECONDS
qemu-system-x86_64 -accel tcg,thread=multi -cpu max -smp 2 -m 768 \
    -nodefaults -no-user-config -display none -no-reboot -serial "file:$home/console.log" \
    -kernel "$kernel/vmlinuz" -initrd "$home/initrd.gz" \
    -append "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off rdinit=/init" \
    -fsdev local,id=usr,path=/usr,security_model=none,readonly=on,multidevs=remap \
    -device virtio-9p-pci,fsdev=usr,mount_tag=usr \
    -fsdev "local,id=out,path=$out,security_model=none" \
    -device virtio-9p-pci,fsdev=out,mount_tag=out </dev/null >"$home/qemu.log" 2>&1 &
machine=$!
while kill -0 "$machine" 2>/dev/null; do
    if ((EPOCHSECONDS - begin > LIMIT_S)); then
        say "the machine did not end within $LIMIT_S s"
        break
    fi
    sleep 0.5
done
say "the machine ran for $((EPOCHSECONDS - begin)) s"

hw-tests/vivid/check.py "$out" || {
    tail -n 40 "$home/qemu.log" "$home/console.log" "$out"/*.err "$out/daemon.log" || true
    die "V4L2 against vivid failed; everything is in $home"
}
