#!/usr/bin/env bash
# Source archive with the crates and the built page, for builds without a network: `make dist` writes
# target/dist/synoptic-VERSION.tar.xz. The same commit gives the same bytes: names are sorted, times are the commit's.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

scripts/setup.sh build dist
[[ -z $(git status --porcelain) ]] || say "note: what is not committed is not in the archive"

version=$(sed -n '/^\[workspace.package\]/,/^\[/ s/^version = "\(.*\)"/\1/p' Cargo.toml)
name=synoptic-$version
out=$root/target/dist
stage_dir=$(mktemp -d)
trap 'rm -rf "$stage_dir"' EXIT
tree=$stage_dir/$name

mkdir -p "$out" "$tree"
git archive HEAD | tar -x -C "$tree"

# The page as built from this very tree, with its stamp, so that nobody needs Node.js to build the daemon.
if [[ -e $tree/daemon/ui/package.json ]]; then
    scripts/setup.sh ui
    SYNOPTIC_TOOLS=$tools "$tree/scripts/ui.sh" build
    rm -rf "$tree/daemon/ui/node_modules"
fi

# The crates, and the configuration that makes cargo take them instead of the network.
(cd "$tree" && cargo vendor --locked --versioned-dirs --quiet vendor >/dev/null)
mkdir -p "$tree/.cargo"
cat >"$tree/.cargo/config.toml" <<'TOML'
[source.crates-io]
replace-with = "vendored"

[source.vendored]
directory = "vendor"

[net]
offline = true
TOML

# The archive proves itself: cargo resolves it with an empty home and no network.
(cd "$tree" && CARGO_HOME=$stage_dir/home cargo metadata --offline --locked --format-version 1 >/dev/null) ||
    die "the archive does not resolve without a network"
rm -rf "${stage_dir:?}/home"

time=$(git log -1 --format=%ct)
# One thread count and level: xz writes the same bytes on every machine.
LC_ALL=C tar --create --sort=name --mtime="@$time" --owner=0 --group=0 --numeric-owner --mode=u+rwX,go+rX,go-w \
    --format=gnu -C "$stage_dir" "$name" | xz --threads=2 -6 --block-size=24MiB >"$out/$name.tar.xz.part"
mv "$out/$name.tar.xz.part" "$out/$name.tar.xz"
(cd "$out" && sha256sum "$name.tar.xz" | tee "$name.tar.xz.sha256")
du -h "$out/$name.tar.xz" | cut -f 1
