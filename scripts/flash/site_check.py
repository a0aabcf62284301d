"""What may stand in a site file: every key, its kind and its bounds. docs/reference/site.md says it for people."""

from __future__ import annotations

import ipaddress
import os
import re
import subprocess
from urllib.parse import urlsplit

import site_toml

# Kinds: text, flag, whole, texts, file (a path whose content is read), secret (the same, "-" is stdin).
KEYS = {
    "": {"schema_version": "whole"},
    "box": {"hostname": "text", "name": "text", "timezone": "text"},
    "network": {"interface": "text", "method": "text", "address": "text", "gateway": "text", "dns": "texts", "ntp": "texts"},
    "wifi": {"ssid": "text", "security": "text", "password_file": "secret", "country": "text", "interface": "text", "hidden": "flag"},
    "cameras": {"interface": "text", "vlan": "whole", "address": "text", "serve_dhcp": "flag"},
    "mqtt": {
        "url": "text", "root": "text", "tenant": "text", "user": "text", "password_file": "secret", "ca_file": "file",
        "client_cert_file": "file", "client_key_file": "file", "home_assistant": "text",
    },
    "ssh": {"authorized_keys": "texts", "authorized_keys_file": "file"},
    "page": {"password_file": "secret", "listen": "texts"},
    "fleet": {"token_file": "secret"},
}
NAMES = {
    "text": "a text in quotes", "flag": "true or false", "whole": "a whole number", "texts": "a list of texts",
    "file": "the path of a file", "secret": "the path of a file, or \"-\" for stdin",
}
MAX_FILE = 64 * 1024  # bytes; certificates and tokens are far smaller

HOSTNAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,29}[a-z0-9])?")
INTERFACE = re.compile(r"[A-Za-z0-9_.*?-]{1,15}")  # IFNAMSIZ is 16 with its zero
TOPIC = re.compile(r"[A-Za-z0-9_-]{1,64}")
DNS_NAME = re.compile(r"(?=.{1,253}$)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?)+")
ZONE = re.compile(r"[A-Za-z0-9_+-]+(?:/[A-Za-z0-9_+-]+){0,2}")
SSH_KEY = re.compile(
    r"(?:ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(?:256|384|521)|sk-ssh-ed25519@openssh\.com|sk-ecdsa-sha2-nistp256@openssh\.com)"
    r" [A-Za-z0-9+/]{40,}={0,2}(?: [^\x00-\x1f]*)?"
)
PHC = re.compile(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]{11,}\$[A-Za-z0-9+/]{16,}")
LISTEN = re.compile(r"(?:\[[0-9a-fA-F:.]+\]|[0-9.]+):[0-9]{1,5}")
# What the daemon asks of a page password (daemon/app/src/web/auth.rs).
PAGE_PASSWORD = (10, 1024)
TOKEN = re.compile(r"[\x21-\x7e]{8,4096}")


class Site:
    """A site file that was read; `problems` says what is wrong, each as (line, key, what)."""

    def __init__(self, path: str, stdin: bytes | None) -> None:
        self.path, self.folder = path, os.path.dirname(os.path.abspath(path))
        self.problems: list[tuple[int, str, str]] = []
        self.values: dict[str, dict[str, object]] = {}
        self.lines: dict[str, int] = {}
        self._stdin, self._stdin_by = stdin, ""

    def wrong(self, key: str, what: str) -> None:
        """Remembers a mistake."""
        self.problems.append((self.lines.get(key, self.lines.get(key.split(".")[0], 1)), key, what))

    def get(self, key: str, default: object = None) -> object:
        """A value by `table.key`."""
        table, _, name = key.rpartition(".")
        return self.values.get(table, {}).get(name, default)

    def has(self, table: str) -> bool:
        """Whether a table is there."""
        return table in self.values

    def read(self) -> None:
        """Reads and types every value; content of files in place of their paths."""
        try:
            with open(self.path, "rb") as file:
                raw = file.read(site_toml.MAX_BYTES + 1)
            if len(raw) > site_toml.MAX_BYTES:
                raise site_toml.Mistake(1, f"is larger than {site_toml.MAX_BYTES} bytes")
            tables = site_toml.parse(raw.decode())
        except OSError as error:
            self.wrong("", f"cannot be read: {error.strerror}")
            return
        except UnicodeDecodeError:
            self.wrong("", "is no UTF-8 text")
            return
        except site_toml.Mistake as mistake:
            self.problems.append((mistake.line, "", mistake.what))
            return
        for table, entries in tables.items():
            if table not in KEYS:
                self.problems.append((1, table, f"there is no table [{table}]; tables: {', '.join(k for k in KEYS if k)}"))
                continue
            self.values[table] = {}
            for name, (value, line) in entries.items():
                key = f"{table}.{name}" if table else name
                self.lines[key] = line
                self.lines.setdefault(table, line)
                kind = KEYS[table].get(name)
                if kind is None:
                    self.wrong(key, f"there is no such key; [{table}] has {', '.join(KEYS[table])}")
                elif not self.typed(kind, value):
                    self.wrong(key, f"must be {NAMES[kind]}")
                elif kind in ("file", "secret"):
                    content = self.content(key, str(value), kind == "secret")
                    if content is not None:
                        self.values[table][name] = content
                else:
                    self.values[table][name] = value

    @staticmethod
    def typed(kind: str, value: object) -> bool:
        """Whether a value is of its kind."""
        if kind == "flag":
            return isinstance(value, bool)
        if kind == "whole":
            return isinstance(value, int) and not isinstance(value, bool)
        if kind == "texts":
            return isinstance(value, list) and all(isinstance(v, str) and v for v in value)
        return isinstance(value, str) and bool(value)

    def content(self, key: str, name: str, secret: bool) -> str | None:
        """The content of a file, or of stdin."""
        if name == "-" and secret:
            if self._stdin_by:
                self.wrong(key, f"only one key can be read from stdin, {self._stdin_by} already is")
                return None
            self._stdin_by = key
            raw = self._stdin
            if raw is None:
                self.wrong(key, "is to come from stdin, which is a terminal or empty: pipe it in")
                return None
        else:
            try:
                with open(os.path.join(self.folder, os.path.expanduser(name)), "rb") as file:
                    raw = file.read(MAX_FILE + 1)
            except OSError as error:
                self.wrong(key, f"{name}: {error.strerror}")
                return None
        if not raw or len(raw) > MAX_FILE:
            self.wrong(key, f"{name} is {'empty' if not raw else f'larger than {MAX_FILE} bytes'}")
            return None
        try:
            text = raw.decode()
        except UnicodeDecodeError:
            self.wrong(key, f"{name} is no UTF-8 text")
            return None
        # As the daemon reads passwords: one line end behind it is not part of it.
        return text.removesuffix("\n").removesuffix("\r") if secret else text

    # ---- rules

    def matches(self, key: str, pattern: re.Pattern[str], what: str) -> None:
        """A text that must have a form."""
        value = self.get(key)
        if value is not None and not pattern.fullmatch(str(value)):
            self.wrong(key, what)

    def choice(self, key: str, words: tuple[str, ...]) -> None:
        """A text that is one of some words."""
        if self.get(key) is not None and self.get(key) not in words:
            self.wrong(key, "must be " + " or ".join(f'"{w}"' for w in words))

    def needs(self, table: str, *names: str) -> None:
        """Keys that a table cannot do without."""
        for name in names:
            if self.get(f"{table}.{name}") is None and not any(p[1] == f"{table}.{name}" for p in self.problems):
                self.wrong(f"{table}.{name}", f"is needed in [{table}]")

    def interface_address(self, key: str) -> ipaddress.IPv4Interface | ipaddress.IPv6Interface | None:
        """An address with its prefix, such as 192.0.2.10/24."""
        value = self.get(key)
        if value is None:
            return None
        try:
            if "/" not in str(value):
                raise ValueError("it has no prefix length, such as /24")
            found = ipaddress.ip_interface(str(value))
        except ValueError as error:
            self.wrong(key, f"is no address with a prefix, such as 192.0.2.10/24: {error}")
            return None
        network = found.network
        if found.ip.is_multicast or found.ip.is_unspecified or found.ip.is_loopback:
            self.wrong(key, f"{found.ip} is no address that a box can have")
        elif found.version == 4 and network.prefixlen < 31 and found.ip in (network.network_address, network.broadcast_address):
            self.wrong(key, f"{found.ip} is the {'network' if found.ip == network.network_address else 'broadcast'} address of {network}")
        return found

    def certificate(self, key: str, label: str) -> None:
        """A PEM file."""
        value = self.get(key)
        if value is not None and not re.search(rf"-----BEGIN (?:[A-Z]+ )?{label}-----\n.+?-----END (?:[A-Z]+ )?{label}-----", str(value).replace("\r", ""), re.S):
            self.wrong(key, f"holds no PEM block {label}")

    def check(self) -> None:
        """Every rule; call after `read`."""
        version = self.get("schema_version")
        if version is None:
            self.wrong("schema_version", "is needed: schema_version = 1")
        elif version != 1:
            self.wrong("schema_version", f"is {version}; this flash.sh knows 1")
        self.matches("box.hostname", HOSTNAME, "must be 1 to 31 of a-z, 0-9 and -, not beginning or ending with -")
        self.matches("box.timezone", ZONE, "must be a name of the time zone database, such as Europe/Berlin")
        zones = "/usr/share/zoneinfo"
        zone = str(self.get("box.timezone", "UTC"))
        if ZONE.fullmatch(zone) and os.path.isdir(f"{zones}/Europe") and not os.path.isfile(f"{zones}/{zone}"):
            self.wrong("box.timezone", f"there is no time zone {zone}; `timedatectl list-timezones` lists them")
        self.check_network()
        self.check_wifi()
        self.check_cameras()
        self.check_mqtt()
        self.check_access()

    def check_network(self) -> None:
        """[network]: the wired uplink."""
        self.matches("network.interface", INTERFACE, "is no name of an interface")
        self.choice("network.method", ("dhcp", "static"))
        own, static = self.interface_address("network.address"), self.get("network.method") == "static"
        if static:
            self.needs("network", "address")
        else:
            for name in ("address", "gateway"):
                if self.get(f"network.{name}") is not None:
                    self.wrong(f"network.{name}", 'means nothing without method = "static"')
        if (gateway := self.get("network.gateway")) is not None and static:
            try:
                if own and ipaddress.ip_address(str(gateway)) not in own.network:
                    self.wrong("network.gateway", f"{gateway} is not in {own.network}")
                elif own and ipaddress.ip_address(str(gateway)) == own.ip:
                    self.wrong("network.gateway", "is the box itself")
            except ValueError:
                self.wrong("network.gateway", f"{gateway} is no address")
        for server in self.get("network.dns", []):
            try:
                ipaddress.ip_address(server)
            except ValueError:
                self.wrong("network.dns", f"{server} is no address")
        for server in self.get("network.ntp", []):
            if not DNS_NAME.fullmatch(server) and ":" not in server:
                self.wrong("network.ntp", f"{server} is neither a name nor an address")

    def check_wifi(self) -> None:
        """[wifi]."""
        if not self.has("wifi"):
            return
        self.needs("wifi", "ssid", "country")
        self.choice("wifi.security", ("wpa2", "wpa3", "open"))
        ssid = str(self.get("wifi.ssid", "x"))
        if len(ssid.encode()) > 32 or any(ord(c) < 32 for c in ssid):
            self.wrong("wifi.ssid", "must be 1 to 32 bytes without control characters")
        self.matches("wifi.country", re.compile("[A-Z]{2}"), "must be the two letters of a country, such as DE: it sets the allowed channels")
        self.matches("wifi.interface", re.compile(r"[A-Za-z0-9_-]{1,15}"), "is no name of an interface")
        password, open_net = self.get("wifi.password_file"), self.get("wifi.security") == "open"
        if open_net and password is not None:
            self.wrong("wifi.password_file", 'means nothing with security = "open"')
        if not open_net:
            self.needs("wifi", "password_file")
            if password is not None and not re.fullmatch(r"[\x20-\x7e]{8,63}", str(password)):
                self.wrong("wifi.password_file", "must hold 8 to 63 printable ASCII characters")

    def check_cameras(self) -> None:
        """[cameras]: a network of their own."""
        if not self.has("cameras"):
            return
        self.needs("cameras", "interface", "address")
        self.matches("cameras.interface", re.compile(r"[A-Za-z0-9_-]{1,10}"), "is no name of an interface (at most 10 characters)")
        vlan = self.get("cameras.vlan")
        if isinstance(vlan, int) and not 1 <= vlan <= 4094:
            self.wrong("cameras.vlan", "must be 1 to 4094")
        cameras, wired = self.interface_address("cameras.address"), None
        if self.get("network.address") is not None and not any(p[1] == "network.address" for p in self.problems):
            wired = ipaddress.ip_interface(str(self.get("network.address")))
        if cameras and wired and cameras.version == wired.version and cameras.network.overlaps(wired.network):
            self.wrong("cameras.address", f"{cameras.network} overlaps the network of [network], {wired.network}")

    def check_mqtt(self) -> None:
        """[mqtt]."""
        if not self.has("mqtt"):
            return
        self.needs("mqtt", "url")
        url = self.get("mqtt.url")
        if url is not None:
            try:
                parts = urlsplit(str(url))
                port = parts.port
                if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.path not in ("", "/") or port == 0:
                    raise ValueError("form")
                if parts.username or parts.password:
                    self.wrong("mqtt.url", "must hold neither user nor password: they have keys of their own")
                elif not DNS_NAME.fullmatch(parts.hostname) and ":" not in parts.hostname:
                    raise ValueError("host")
            except ValueError:
                self.wrong("mqtt.url", "must be mqtt://host:port or mqtts://host:port")
            if str(url).startswith("mqtt://") and (self.get("mqtt.ca_file") or self.get("mqtt.client_cert_file")):
                self.wrong("mqtt.url", "certificates need mqtts://")
        for name in ("root", "tenant", "home_assistant"):
            self.matches(f"mqtt.{name}", TOPIC, "must be one level of a topic: letters, digits, _ and -")
        if self.get("mqtt.password_file") is not None:
            self.needs("mqtt", "user")
        self.certificate("mqtt.ca_file", "CERTIFICATE")
        self.certificate("mqtt.client_cert_file", "CERTIFICATE")
        self.certificate("mqtt.client_key_file", "PRIVATE KEY")
        cert, key = self.get("mqtt.client_cert_file"), self.get("mqtt.client_key_file")
        if (cert is None) != (key is None):
            self.wrong("mqtt.client_cert_file", "a certificate and its key come together")
        elif cert is not None and key is not None and not any(p[1].startswith("mqtt.client") for p in self.problems):
            if "ENCRYPTED" in str(key):
                self.wrong("mqtt.client_key_file", "is encrypted with a passphrase, which the box cannot type")
            elif public_of("x509", "-pubkey", text=str(cert)) != public_of("pkey", "-pubout", text=str(key)):
                self.wrong("mqtt.client_key_file", "is not the key of client_cert_file")

    def check_access(self) -> None:
        """[ssh], [page] and [fleet]."""
        if self.has("ssh"):
            lines = list(self.get("ssh.authorized_keys", []))
            lines += [x.strip() for x in str(self.get("ssh.authorized_keys_file", "")).splitlines() if x.strip() and not x.startswith("#")]
            if not lines and not any(p[1].startswith("ssh") for p in self.problems):
                self.wrong("ssh", "names no key: authorized_keys or authorized_keys_file")
            for number, line in enumerate(lines, 1):
                if not SSH_KEY.fullmatch(line):
                    what = "is a PRIVATE key" if "PRIVATE" in line else "is no public key, such as \"ssh-ed25519 AAAA… name\""
                    self.wrong("ssh.authorized_keys", f"key {number} {what}")
                    break
        password = self.get("page.password_file")
        if password is not None and not PHC.fullmatch(str(password)):
            low, high = PAGE_PASSWORD
            if str(password).startswith("$"):
                self.wrong("page.password_file", "begins like a hash, but is none of argon2id ($argon2id$v=19$…)")
            elif len(str(password)) < low or len(str(password).encode()) > high or "\n" in str(password):
                self.wrong("page.password_file", f"must hold one line of {low} characters or more (at most {high} bytes), or its argon2id hash")
        for address in self.get("page.listen", []):
            if not LISTEN.fullmatch(address) or int(address.rpartition(":")[2]) > 65535:
                self.wrong("page.listen", f"{address} is no address and port, such as 0.0.0.0:8443")
        token = self.get("fleet.token_file")
        if token is not None and not TOKEN.fullmatch(str(token)):
            self.wrong("fleet.token_file", "must hold one word of 8 to 4096 printable ASCII characters")


def public_of(*command: str, text: str) -> str:
    """The public key of a certificate or of a private key, by openssl; a text that equals no other if there is none."""
    flags = ["-noout"] if command[0] == "x509" else []
    done = subprocess.run(["openssl", *command, *flags], input=text, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() else f"none of {command}"
