#!/usr/bin/env bash
# The crates that decide and store, built for a Jetson's kind of CPU against Debian's arm64 packages and run under QEMU's user
# emulation: `make test-aarch64`. Not part of `make test`: it compiles everything a second time, and emulates.
#
#   CRATES="synoptic-base …"   others than those below, or fewer
#   BOX_MIRROR                 another Debian mirror than mmdebstrap's own
#
# The sysroot is of packages that are unpacked and never installed: the host stays what it is (no multiarch).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

triple=aarch64-unknown-linux-gnu
read -r -a crates <<<"${CRATES:-synoptic-base synoptic-engine synoptic-store}"
scripts/setup.sh build aarch64
have rustup || die "the standard library for $triple comes by rustup, which is missing"
rustup target list --installed | grep -qx "$triple" || rustup target add "$triple"

# What the crates link beside the C library; gcc's own parts are the cross compiler's.
packages=libc6-dev,linux-libc-dev,libgcc-s1,libstdc++6
sum=$(cat <<<"$packages" | sha256sum | cut -c 1-12)
sysroot=$tools/aarch64/$sum
if [[ ! -e $sysroot/made ]]; then
    say "unpacking the arm64 sysroot: Debian bookworm, $packages and what they need"
    rm -rf "$tools/aarch64"
    mkdir -p "$tools/aarch64"
    mode=root
    ((EUID == 0)) || mode=unshare
    # Extracted only: no script of a package runs, which would take an arm64 CPU.
    mmdebstrap --quiet --mode="$mode" --variant=extract --architectures=arm64 --include="$packages" \
        --aptopt='APT::Install-Recommends "false"' --aptopt='Acquire::Retries "3"' bookworm "$sysroot" ${BOX_MIRROR:+"$BOX_MIRROR"}
    # Debian's merged /usr, which the base-files' script makes elsewhere.
    [[ -e $sysroot/lib || ! -d $sysroot/usr/lib ]] || ln -s usr/lib "$sysroot/lib"
    [[ -e $sysroot/lib/ld-linux-aarch64.so.1 ]] || die "the sysroot has no loader: $sysroot"
    touch "$sysroot/made"
fi

# The variables that cargo, cc and bindgen read: https://doc.rust-lang.org/cargo/reference/config.html#target,
# https://docs.rs/cc.
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUSTFLAGS="-C link-arg=--sysroot=$sysroot"
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64-static -L $sysroot"
export CC_aarch64_unknown_linux_gnu=aarch64-linux-gnu-gcc CFLAGS_aarch64_unknown_linux_gnu="--sysroot=$sysroot"
export CXX_aarch64_unknown_linux_gnu=aarch64-linux-gnu-g++ CXXFLAGS_aarch64_unknown_linux_gnu="--sysroot=$sysroot"

for crate in "${crates[@]}"; do
    stage "$crate" cargo test --quiet --locked --target "$triple" --package "$crate" --lib --bins
done
finish
