"""What the layer reads out of the project's own files, so that nothing is written down twice."""

import os
import tomllib
from urllib.parse import quote

BBIMPORTS = []


def _toml(d, path):
    """A TOML file of the project. The recipe is parsed again when it changes."""
    import bb

    bb.parse.mark_dependency(d, path)
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except (OSError, tomllib.TOMLDecodeError) as error:
        bb.fatal(f"{path}: {error}")


def tree(d):
    """The root of the project's tree."""
    return d.getVar("SYNOPTIC_TREE")


def version(d):
    """The version of the workspace."""
    return _toml(d, os.path.join(tree(d), "Cargo.toml"))["workspace"]["package"]["version"]


def members(d):
    """The folders of the workspace's crates, relative to the tree."""
    return _toml(d, os.path.join(tree(d), "Cargo.toml"))["workspace"]["members"]


def crates(d, lock):
    """Of each crate that Cargo.lock takes from a registry: its fetch name, its URI for BitBake's crate fetcher, its sha256.

    The registry's host is that of the lock file's own source: crates.io for
    registry+https://github.com/rust-lang/crates.io-index.
    """
    import bb

    for package in _toml(d, lock)["package"]:
        source = package.get("source")
        if source is None:
            continue  # a crate of the workspace
        name, found = package["name"], package["version"]
        if not source.startswith("registry+"):
            bb.fatal(f"{lock}: {name} {found} comes from {source}; only registries can be fetched")
        host = source.removeprefix("registry+").rstrip("/").rsplit("/", 1)[-1].removesuffix("-index")
        yield f"{name}-{found}", f"crate://{host}/{name}/{found}", package["checksum"]


def models(d):
    """Of each model's manifest: name, licence, file, upstream URI, sha256 of the upstream file."""
    import bb

    folder = os.path.join(tree(d), "configs", "models")
    for entry in sorted(os.listdir(folder)):
        if not entry.endswith(".toml"):
            continue
        manifest = _toml(d, os.path.join(folder, entry))
        up = manifest["upstream"]
        if "repo" not in up:
            bb.fatal(f"{entry}: [upstream] names no repo")
        uri = f"https://raw.githubusercontent.com/{up['repo']}/{up['commit']}/{quote(up['path'])}"
        # An archive or a converted model has a checksum of its own upstream file.
        yield manifest["name"], manifest["licence"], uri, up.get("sha256", manifest["sha256"])
