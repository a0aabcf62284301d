"""Site files: each kind of mistake is named with its line, and what is rendered is what was asked."""

import base64
import hashlib
import subprocess
import sys

from bench import ROOT, Case, run

sys.path.insert(0, str(ROOT / "scripts/flash"))
import site_check  # noqa: E402
import site_toml  # noqa: E402

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGJvdW5kbGVzcyBrZXkgb2YgdGhlIHRlc3RzIG9ubHk me@desk"
SECRET = "a long passphrase"


class Site(Case):
    """Everything runs in one folder with these files beside the site file."""

    def setUp(self) -> None:
        super().setUp()
        (self.dir / "secret").write_text(SECRET + "\n")
        (self.dir / "short").write_text("short\n")
        (self.dir / "empty").write_text("")
        for name in ("good.crt", "good.key", "other.key", "root.crt"):
            (self.dir / name).write_bytes((self.keys.folder / name).read_bytes())

    def render(self, text: str, stdin: bytes = b"") -> dict[str, str]:
        """Name and content of every file that is rendered."""
        out = self.dir / "out"
        run(sys.executable, ROOT / "scripts/flash/site.py", "render", self.site(text), out, input=stdin)
        return {str(p.relative_to(out)): p.read_text() for p in out.rglob("*") if p.is_file()}

    def mistakes(self, text: str, stdin: "bytes | None" = None) -> str:
        """What is found, as `LINE: KEY: WHAT` lines; there must be something."""
        site = site_check.Site(str(self.site(text)), stdin)
        site.read()
        if not site.problems:
            site.check()
        self.assertTrue(site.problems, f"nothing was found in {text!r}")
        return "\n".join(f"{line}: {key + ': ' if key else ''}{what}" for line, key, what in sorted(site.problems))

    def test_mistakes(self) -> None:
        wifi = '[wifi]\nssid = "Works"\ncountry = "DE"\npassword_file = "secret"\n'
        static = '[network]\nmethod = "static"\naddress = "192.0.2.10/24"\n'
        for expected, text in (
            ("2: 'hello' is neither", "hello"),
            ("2: 'gate' is no value", "x = gate"),
            ("is there twice", "[box]\n[box]\n"),
            ("hostname is there twice", '[box]\nhostname = "a"\nhostname = "b"\n'),
            ("there is no table [boxes]", "[boxes]\n"),
            ("box.hostnam: there is no such key", '[box]\nhostnam = "a"\n'),
            ("must be a text in quotes", "[box]\nhostname = 1\n"),
            ("must be true or false", wifi + "hidden = 1\n"),
            ("must be a list of texts", '[network]\ndns = "192.0.2.1"\n'),
            ("not closed", '[network]\ndns = ["192.0.2.1"\n'),
            ("comma is missing", '[network]\ndns = ["192.0.2.1" "192.0.2.2"]\n'),
            ("follows the value", '[box]\nhostname = "a" "b"\n'),
            ("box.hostname: must be", '[box]\nhostname = "Gate 1"\n'),
            ("box.hostname: must be", '[box]\nhostname = "gate-"\n'),
            ("box.timezone", '[box]\ntimezone = "Mars/Olympus"\n'),
            ("box.timezone", '[box]\ntimezone = "../../etc/passwd"\n'),
            ("network.method", '[network]\nmethod = "magic"\n'),
            ("network.address: is needed", '[network]\nmethod = "static"\n'),
            ("means nothing without", '[network]\naddress = "192.0.2.10/24"\n'),
            ("no prefix length", '[network]\nmethod = "static"\naddress = "192.0.2.10"\n'),
            ("broadcast address", '[network]\nmethod = "static"\naddress = "192.0.2.255/24"\n'),
            ("not in 192.0.2.0/24", static + 'gateway = "198.51.100.1"\n'),
            ("is the box itself", static + 'gateway = "192.0.2.10"\n'),
            ("is no address", static + 'dns = ["resolver"]\n'),
            ("neither a name nor an address", '[network]\nntp = ["a b"]\n'),
            ("wifi.country: is needed", '[wifi]\nssid = "a"\npassword_file = "secret"\n'),
            ("wifi.country: must be the two letters", wifi.replace("DE", "Germany")),
            ("wifi.ssid: must be 1 to 32 bytes", wifi.replace("Works", "W" * 33)),
            ("wifi.password_file: must hold 8 to 63", wifi.replace('"secret"', '"short"')),
            ("wifi.password_file: is needed", '[wifi]\nssid = "a"\ncountry = "DE"\n'),
            ('means nothing with security = "open"', wifi + 'security = "open"\n'),
            ("wifi.security: must be", wifi + 'security = "wep"\n'),
            ("No such file", wifi.replace('"secret"', '"nothing"')),
            ("is empty", wifi.replace('"secret"', '"empty"')),
            ("from stdin, which is", wifi.replace('"secret"', '"-"')),
            ("cameras.vlan: must be 1 to 4094", '[cameras]\ninterface = "eth1"\naddress = "10.9.0.1/24"\nvlan = 4095\n'),
            ("overlaps", static + '[cameras]\ninterface = "eth1"\naddress = "192.0.2.1/25"\n'),
            ("mqtt.url: is needed", '[mqtt]\nuser = "u"\n'),
            ("mqtt.url: must be mqtt://", '[mqtt]\nurl = "http://broker"\n'),
            ("mqtt.url: must be mqtt://", '[mqtt]\nurl = "mqtts://broker:99999"\n'),
            ("neither user nor password", '[mqtt]\nurl = "mqtts://me:secret@broker"\n'),
            ("certificates need mqtts", '[mqtt]\nurl = "mqtt://broker"\nca_file = "root.crt"\n'),
            ("mqtt.ca_file: holds no PEM", '[mqtt]\nurl = "mqtts://broker"\nca_file = "secret"\n'),
            ("come together", '[mqtt]\nurl = "mqtts://broker"\nclient_cert_file = "good.crt"\n'),
            ("is not the key of", '[mqtt]\nurl = "mqtts://b"\nclient_cert_file = "good.crt"\nclient_key_file = "other.key"\n'),
            ("one level of a topic", '[mqtt]\nurl = "mqtts://b"\nroot = "a/b"\n'),
            ("mqtt.user: is needed", '[mqtt]\nurl = "mqtts://b"\npassword_file = "secret"\n'),
            ("names no key", "[ssh]\n"),
            ("is no public key", '[ssh]\nauthorized_keys = ["hello"]\n'),
            ("is a PRIVATE key", '[ssh]\nauthorized_keys_file = "good.key"\n'),
            ("10 characters or more", '[page]\npassword_file = "short"\n'),
            ("no address and port", '[page]\nlisten = ["localhost"]\n'),
            ("one word of 8", '[fleet]\ntoken_file = "secret"\n'),
            ("only one key can be read from stdin", '[page]\npassword_file = "-"\n[fleet]\ntoken_file = "-"\n'),
        ):
            with self.subTest(expected=expected):
                # Only where the mistake is about stdin is there nothing on it.
                stdin = None if "stdin, which" in expected else b"0123456789ab"
                self.assertIn(expected, self.mistakes(text, stdin))

    def test_version(self) -> None:
        self.site("")
        for text in ("", "schema_version = 2\n"):
            path = self.dir / "site.toml"
            path.write_text(text)
            done = subprocess.run([sys.executable, ROOT / "scripts/flash/site.py", "check", path], capture_output=True, check=False)
            self.assertEqual(done.returncode, 7)
            self.assertIn(b"schema_version", done.stdout)

    def test_all_mistakes_at_once_and_their_lines(self) -> None:
        said = self.mistakes('[box]\nhostname = "A"\n[network]\nmethod = "b"\n').splitlines()
        self.assertEqual([line.split(":")[0] for line in said], ["3", "5"])

    def test_a_mistake_stops_flash_before_it_writes(self) -> None:
        done = self.flash(self.release(), self.dir / "disk.img", "--json", "--site", self.site('[box]\nhostname = "A"\n'))
        self.assert_ends(done, 7)
        self.assertEqual([e["event"] for e in self.events(done)][-2:], ["mistake", "error"])
        self.assertFalse((self.dir / "disk.img").exists())

    def test_everything_rendered(self) -> None:
        (self.dir / "wifi").write_text("password\n")
        (self.dir / "fleet").write_text("0123456789\n")
        files = self.render(f"""
[box]
hostname = "gate-1"
name = "Gate \\"1\\""
timezone = "UTC"
[network]
interface = "end0"
method = "static"
address = "192.0.2.10/24"
gateway = "192.0.2.1"
dns = [
    "192.0.2.1", # the router
    "2001:db8::1",
]
ntp = ["ntp.example"]
[wifi]
ssid = "IEEE"
country = "DE"
password_file = "wifi"
[cameras]
interface = "end0"
vlan = 20
address = "10.20.0.1/24"
serve_dhcp = true
[mqtt]
url = "mqtts://broker.example:8883"
user = "gate-1"
password_file = "secret"
ca_file = "root.crt"
client_cert_file = "good.crt"
client_key_file = "good.key"
[ssh]
authorized_keys = ["{KEY}"]
[page]
password_file = "-"
[fleet]
token_file = "fleet"
""", b"a page password")
        self.assertEqual(files["hostname"], "gate-1\n")
        self.assertIn("Address=192.0.2.10/24\n", files["network/10-site-uplink.network"])
        self.assertIn("DNS=2001:db8::1\n", files["network/10-site-uplink.network"])
        self.assertIn("VLAN=end0.20\n", files["network/06-site-trunk.network"])
        self.assertIn("Address=192.0.2.10/24\n", files["network/06-site-trunk.network"])
        self.assertIn("Id=20\n", files["network/05-site-cameras.netdev"])
        self.assertIn("DHCPServer=yes\n", files["network/05-site-cameras.network"])
        self.assertIn("allow 10.20.0.0/24\n", files["chrony/cameras.conf"])
        self.assertEqual(files["chrony/site.sources"], "server ntp.example iburst\n")
        # The example of IEEE 802.11-2020, J.4.2.
        self.assertIn("psk=f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e", files["wifi/wpa_supplicant-wlan0.conf"])
        self.assertIn("ssid=49454545\n", files["wifi/wpa_supplicant-wlan0.conf"])
        self.assertEqual(files["ssh/authorized_keys"], KEY + "\n")
        self.assertEqual(files["fleet-token"], "0123456789")
        self.assertEqual(files["synoptic/mqtt.password"], SECRET)
        config = files["synoptic/synoptic.toml"]
        # What was rendered is TOML by the same reader.
        tables = site_toml.parse(config.replace("{ file = ", "").replace(" }", ""))
        self.assertEqual(tables["device"]["name"][0], 'Gate "1"')
        self.assertEqual(tables["mqtt"]["ca"][0], "broker-ca.crt")
        sums = dict(reversed(line.split("  ")) for line in files["SHA256SUMS"].splitlines())
        self.assertEqual(sums, {n: hashlib.sha256(t.encode()).hexdigest() for n, t in files.items() if n != "SHA256SUMS"})

    def test_hash_is_taken_as_it_is(self) -> None:
        phc = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$0P5jgrGF6tfI7wkFInkj22rywnvuCP+TaMH5m1yObNU"
        (self.dir / "hash").write_text(phc + "\n")
        self.assertEqual(self.render('[page]\npassword_file = "hash"\n')["web-password"], phc)

    def test_hash_is_of_the_password(self) -> None:
        made = self.render('[page]\npassword_file = "secret"\n')["web-password"]
        self.assertRegex(made, r"^\$argon2id\$v=19\$m=19456,t=2,p=1\$")
        # The same salt and password give the same hash; the salt is base64 without its padding.
        salt = base64.b64decode(made.split("$")[4] + "==").decode()
        again = run("argon2", salt, "-id", "-t", "2", "-k", "19456", "-p", "1", "-l", "32", "-e", input=SECRET.encode())
        self.assertEqual(again.stdout.decode().strip(), made)

    def test_the_shipped_example(self) -> None:
        example = (ROOT / "configs/site/site.toml").read_text()
        (self.dir / "site.toml").write_text(example)
        run(sys.executable, ROOT / "scripts/flash/site.py", "check", self.dir / "site.toml")
        # Every key is in it, set or as a comment.
        for table, keys in site_check.KEYS.items():
            for key in keys:
                self.assertRegex(example, rf"(?m)^#?{key} = ", f"{table}.{key}")
