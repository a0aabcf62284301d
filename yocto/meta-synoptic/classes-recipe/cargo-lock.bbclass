# Takes the crates that a Cargo.lock names as sources, read at parse time: there is no second list that could drift.
#
#   inherit cargo cargo-lock
#   CARGO_LOCK = "/path/to/Cargo.lock"
#
# Host, version and sha256 are the lock file's own. Only registries can be fetched; a git dependency is an error.

python () {
    uris = []
    for name, uri, sha256 in synoptic.crates(d, d.getVar("CARGO_LOCK")):
        uris.append(uri)
        d.setVarFlag("SRC_URI", f"{name}.sha256sum", sha256)
    d.appendVar("SRC_URI", " " + " ".join(uris))
}
