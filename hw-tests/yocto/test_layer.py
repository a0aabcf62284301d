"""The Yocto layer without BitBake: what it reads out of the project's own files, and what must agree with them."""

import configparser
import pathlib
import re
import subprocess
import sys
import tempfile
import tomllib
import types
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAYER = ROOT / "yocto" / "meta-synoptic"


class Fatal(Exception):
    """What bb.fatal raises here."""


def fatal(text):
    raise Fatal(text)


# BitBake's own module, as far as the layer's library uses it.
sys.modules["bb"] = types.SimpleNamespace(
    fatal=fatal, parse=types.SimpleNamespace(mark_dependency=lambda d, path: d.seen.append(path))
)
sys.path.insert(0, str(LAYER / "lib"))
import synoptic  # noqa: E402


class Data:
    """BitBake's data store with one variable."""

    def __init__(self, tree=ROOT):
        self.tree, self.seen = tree, []

    def getVar(self, name):
        return {"SYNOPTIC_TREE": str(self.tree)}[name]


class Sources(unittest.TestCase):
    def test_every_crate_of_the_lock_file_is_fetched_with_its_sum(self):
        data = Data()
        crates = list(synoptic.crates(data, str(ROOT / "Cargo.lock")))
        locked = [p for p in tomllib.loads((ROOT / "Cargo.lock").read_text())["package"] if "source" in p]
        self.assertEqual(len(crates), len(locked))
        self.assertGreater(len(crates), 100)
        for name, uri, sha256 in crates:
            self.assertRegex(uri, r"^crate://crates\.io/[\w.+-]+/[\w.+-]+$")
            self.assertEqual(uri.split("/")[-2] + "-" + uri.split("/")[-1], name)
            self.assertRegex(sha256, r"^[0-9a-f]{64}$")
        self.assertIn(str(ROOT / "Cargo.lock"), data.seen)

    def test_a_crate_from_git_is_refused_by_name(self):
        with tempfile.NamedTemporaryFile("w", suffix=".lock") as lock:
            lock.write('[[package]]\nname = "odd"\nversion = "1.0.0"\nsource = "git+https://example.org/odd#1"\n')
            lock.flush()
            with self.assertRaisesRegex(Fatal, "odd 1.0.0 comes from git"):
                list(synoptic.crates(Data(), lock.name))

    def test_a_broken_lock_file_is_named(self):
        with tempfile.NamedTemporaryFile("w", suffix=".lock") as lock:
            lock.write("[[package\n")
            lock.flush()
            with self.assertRaisesRegex(Fatal, re.escape(lock.name)):
                list(synoptic.crates(Data(), lock.name))

    def test_the_crates_of_the_workspace_are_there(self):
        members = synoptic.members(Data())
        self.assertIn("daemon/app", members)
        for member in members:
            self.assertTrue((ROOT / member / "Cargo.toml").is_file(), member)

    def test_models_come_from_where_the_daemon_takes_them(self):
        models = list(synoptic.models(Data()))
        self.assertEqual(len(models), len(list((ROOT / "configs/models").glob("*.toml"))))
        for name, licence, uri, sha256 in models:
            manifest = tomllib.loads((ROOT / f"configs/models/{name}.toml").read_text())
            self.assertIn(manifest["upstream"]["commit"], uri)
            self.assertEqual(sha256, manifest["sha256"])
            self.assertEqual(licence, manifest["licence"])


class Agreement(unittest.TestCase):
    def test_the_compiler_of_the_release_is_new_enough(self):
        # wrynose ships Rust 1.94.1.
        self.assertEqual(tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["rust-version"], "1.94")
        self.assertIn('LAYERSERIES_COMPAT_synoptic = "wrynose"', (LAYER / "conf/layer.conf").read_text())

    def test_licence_sums_are_those_of_the_texts(self):
        import hashlib

        for recipe in LAYER.glob("recipes-*/*/*.bb"):
            for name, md5 in re.findall(r"file://(LICENSE-\w+);md5=(\w+)", recipe.read_text()):
                self.assertEqual(hashlib.md5((ROOT / name).read_bytes()).hexdigest(), md5, recipe.name)

    def test_licences_are_written_as_bitbake_reads_them(self):
        # BitBake joins licences by & and |, and stops at the words of SPDX: "has an invalid format [license-format]".
        for recipe in [*LAYER.glob("recipes-*/*/*.bb"), *LAYER.glob("recipes-*/*/*.inc")]:
            for value in re.findall(r'^LICENSE = "(.*)"$', recipe.read_text(), re.M):
                self.assertNotRegex(value, r"\b(OR|AND|WITH)\b", recipe.name)
        for name, licence, _, _ in synoptic.models(Data()):
            self.assertRegex(licence, r"^[\w.+-]+$", name)

    def test_files_that_recipes_take_from_the_tree_exist(self):
        for recipe in LAYER.glob("recipes-*/*/*.bb"):
            for path in re.findall(r"\$\{S\}/((?:systemd|configs)/[\w./@-]+[\w.])", recipe.read_text()):
                self.assertTrue((ROOT / path).exists(), f"{recipe.name}: {path}")

    def test_slots_have_the_names_that_the_disk_gives(self):
        disk = re.findall(r"--part-name (\w+)", (LAYER / "files/wic/synoptic-uefi.wks.in").read_text())
        self.assertEqual(disk, ["esp", "bootstate", "root_a", "root_b", "data"])
        rauc = (ROOT / "systemd/box/rauc/system.conf").read_text()
        self.assertEqual(re.findall(r"by-partlabel/(\w+)", rauc), ["root_a", "root_b"])
        mounts = "".join(f.read_text() for f in (ROOT / "systemd/box").rglob("*.mount"))
        for name in ("esp", "bootstate", "data"):
            self.assertIn(f"by-partlabel/{name}\n", mounts)
        grub = (ROOT / "systemd/box/boot/grub.cfg").read_text()
        for number, name in ((2, "bootstate"), (3, "root_a"), (4, "root_b")):
            self.assertIn(f"gpt{number})", grub, name)
        state = re.search(r"grubenv=(.*)/grubenv", rauc).group(1)
        self.assertIn(f"Where={state}\n", mounts)

    def test_a_jetson_s_rauc_differs_in_the_boot_loader_and_the_slots_only(self):
        def sections(name):
            text = (ROOT / "systemd/box/rauc" / name).read_text()
            parser = configparser.ConfigParser()
            parser.read_string(text)
            return {key: dict(parser[key]) for key in parser.sections()}

        uefi, tegra = sections("system.conf"), sections("system-tegra.conf")
        self.assertEqual(tegra["handlers"].pop("bootloader-custom-backend"), "/usr/lib/synoptic/synoptic-tegra-boot")
        self.assertTrue((ROOT / "systemd/box/lib/synoptic-tegra-boot").exists())
        self.assertEqual(tegra["handlers"], uefi["handlers"])
        self.assertEqual(tegra["keyring"], uefi["keyring"])
        self.assertEqual(tegra["system"]["bootloader"], "custom")
        self.assertEqual([tegra[f"slot.rootfs.{n}"]["bootname"] for n in (0, 1)], ["A", "B"])

    def test_every_machine_of_kas_includes_the_pins(self):
        for machine in ("qemux86-64", "qemuarm64", "jetson-orin-nano-devkit-nvme", "jetson-agx-orin-devkit"):
            text = (ROOT / f"yocto/kas/{machine}.yml").read_text()
            self.assertIn("- base.yml", text)
            self.assertIn(f"machine: {machine}", text)
            self.assertEqual("- tegra.yml" in text, machine.startswith("jetson"))
        for file in ("base", "tegra"):
            text = (ROOT / f"yocto/kas/{file}.yml").read_text()
            self.assertEqual(text.count("url:"), len(re.findall(r"commit: [0-9a-f]{40}\n", text)))

    def test_grub_understands_its_file(self):
        text = (ROOT / "systemd/box/boot/grub.cfg").read_text()
        text = text.replace("@KERNEL@", "bzImage").replace("@CONSOLES@", "console=tty0")
        try:
            done = subprocess.run(["grub-script-check", "-v"], input=text, text=True, capture_output=True)
        except FileNotFoundError:
            self.fail("grub-script-check is missing: apt install grub-common")
        self.assertEqual(done.returncode, 0, done.stderr)


class TheCheck(unittest.TestCase):
    """scripts/yocto-crates.py, which compares what BitBake will fetch."""

    def run_it(self, change):
        lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
        crates = [p for p in lock["package"] if "source" in p]
        uris = " ".join(f"crate://crates.io/{p['name']}/{p['version']}" for p in crates)
        sums = "\n".join(f'#   [{p["name"]}-{p["version"]}.sha256sum] "{p["checksum"]}"' for p in crates)
        with tempfile.NamedTemporaryFile("w") as environment:
            environment.write(change(f'{sums}\nSRC_URI="file://Cargo.toml {uris}"\n'))
            environment.flush()
            command = [sys.executable, ROOT / "scripts/yocto-crates.py", environment.name, ROOT / "Cargo.lock"]
            return subprocess.run(command, capture_output=True, text=True)

    def test_the_same_crates_pass_and_others_do_not(self):
        self.assertEqual(self.run_it(lambda text: text).returncode, 0)
        missing = self.run_it(lambda text: re.sub(r"crate://crates\.io/anyhow/\S+ ", "", text))
        self.assertEqual(missing.returncode, 1)
        self.assertIn("not fetched: anyhow", missing.stdout)
        other = self.run_it(lambda text: re.sub(r"crates\.io/anyhow/[\d.]+", "crates.io/anyhow/0.0.1", text))
        self.assertIn("not in Cargo.lock: anyhow 0.0.1", other.stdout)


if __name__ == "__main__":
    unittest.main()
