#!/usr/bin/env python3
"""Site files: `site.py check FILE` says every mistake, `site.py render FILE FOLDER` writes what the ESP gets.

The box has no Python: what is rendered are plain files that first boot puts into their places
(systemd/box/lib/synoptic-first-boot). Both read a secret named "-" from stdin. docs/reference/site.md is the format.
Python 3.9, nothing but its standard library; openssl compares a certificate with its key, argon2 hashes a password.
"""

from __future__ import annotations

import hashlib
import ipaddress
import os
import secrets
import shutil
import subprocess
import sys

from site_check import PHC, Site

WRONG = 7
# Predictable names of wired interfaces, and the kernel's own.
UPLINK = "en* eth*"
# The daemon's own parameters of argon2id (OWASP's first choice): KiB, passes, lanes, bytes.
ARGON2 = {"memory": 19456, "passes": 2, "lanes": 1, "length": 32}


def quoted(text: object) -> str:
    """A TOML text. Control characters were refused when the site file was read, or are written as escapes."""
    out = "".join(f"\\u{ord(c):04x}" if ord(c) < 32 or c in '"\\' or ord(c) == 127 else c for c in str(text))
    return f'"{out}"'


def password_hash(password: str) -> str:
    """The argon2id hash of a page password, in PHC form. The password is given by stdin: it is in no process list."""
    if PHC.fullmatch(password):
        return password
    salt = secrets.token_urlsafe(16)[:16]
    if shutil.which("argon2"):
        command = ["argon2", salt, "-id", "-t", str(ARGON2["passes"]), "-k", str(ARGON2["memory"])]
        command += ["-p", str(ARGON2["lanes"]), "-l", str(ARGON2["length"]), "-e"]
        # The tool itself takes at most 127 bytes.
        if len(password.encode()) <= 127:
            done = subprocess.run(command, input=password, capture_output=True, text=True, check=False)
            if done.returncode == 0 and PHC.fullmatch(done.stdout.strip()):
                return done.stdout.strip()
            sys.exit(f"argon2 failed: {done.stderr.strip()}")
    try:
        from argon2.low_level import Type, hash_secret
    except ImportError:
        sys.exit("to hash the page password the tool argon2 is needed (apt install argon2, brew install argon2); or give its argon2id hash")
    found = hash_secret(password.encode(), salt.encode(), ARGON2["passes"], ARGON2["memory"], ARGON2["lanes"], ARGON2["length"], Type.ID)
    return found.decode()


def uplink(site: Site, interface: str, vlan: str = "") -> str:
    """systemd.network of the wired uplink, which may carry the cameras' VLAN as well."""
    lines = ["[Match]", f"Name={interface}", "", "[Network]", "MulticastDNS=yes", "LLMNR=no"]
    if site.get("network.method") == "static":
        lines += [f"Address={site.get('network.address')}", "LinkLocalAddressing=ipv6"]
        if site.get("network.gateway"):
            lines.append(f"Gateway={site.get('network.gateway')}")
    else:
        # Without a DHCP server the box has an address of 169.254/16 all the same, and is found by its mDNS name.
        lines += ["DHCP=yes", "LinkLocalAddressing=yes"]
    lines += [f"DNS={server}" for server in site.get("network.dns", [])]
    if vlan:
        lines.append(f"VLAN={vlan}")
    return "\n".join(lines) + "\n"


def wifi(site: Site, put) -> None:
    """wpa_supplicant and its network. With WPA2 the passphrase itself never leaves this computer."""
    interface = str(site.get("wifi.interface", "wlan0"))
    ssid, password = str(site.get("wifi.ssid")), str(site.get("wifi.password_file", ""))
    security = site.get("wifi.security", "wpa2")
    lines = ["ctrl_interface=/run/wpa_supplicant", f"country={site.get('wifi.country')}", "network={"]
    # As hex: an SSID is bytes, not text.
    lines.append(f"    ssid={ssid.encode().hex()}")
    if site.get("wifi.hidden"):
        lines.append("    scan_ssid=1")
    if security == "open":
        lines.append("    key_mgmt=NONE")
    elif security == "wpa3":
        # SAE needs the passphrase; a quote within is allowed, the last one ends it.
        lines += ["    key_mgmt=SAE", f'    sae_password="{password}"', "    ieee80211w=2"]
    else:
        # IEEE 802.11-2020, J.4.1: PBKDF2-HMAC-SHA1, 4096 rounds, 256 bits.
        psk = hashlib.pbkdf2_hmac("sha1", password.encode(), ssid.encode(), 4096, 32)
        lines += ["    key_mgmt=WPA-PSK WPA-PSK-SHA256", f"    psk={psk.hex()}", "    ieee80211w=1"]
    put(f"wifi/wpa_supplicant-{interface}.conf", "\n".join([*lines, "}"]) + "\n")
    put("network/20-site-wifi.network", f"[Match]\nName={interface}\n\n[Network]\nDHCP=yes\nMulticastDNS=yes\nLLMNR=no\n\n[DHCPv4]\nRouteMetric=2048\n")


def cameras(site: Site, put) -> None:
    """The cameras' own network: an interface, or a VLAN on it; the box is its NTP server.

    networkd takes the first file that matches, by name: these come before the uplink's, which matches by pattern.
    """
    parent, vlan = str(site.get("cameras.interface")), site.get("cameras.vlan")
    name = f"{parent}.{vlan}" if vlan else parent
    if vlan:
        put("network/05-site-cameras.netdev", f"[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={vlan}\n")
        put("network/06-site-trunk.network", uplink(site, parent, name))
    address = ipaddress.ip_interface(str(site.get("cameras.address")))
    lines = ["[Match]", f"Name={name}", "", "[Network]", f"Address={address}", "LinkLocalAddressing=no", "MulticastDNS=no", "LLMNR=no"]
    # Nothing is routed between the cameras and the rest.
    lines.append("IPForward=no")
    if site.get("cameras.serve_dhcp"):
        lines += ["DHCPServer=yes", "", "[DHCPServer]", "EmitDNS=no", "EmitRouter=no", "EmitNTP=yes", f"NTP={address.ip}"]
    put("network/05-site-cameras.network", "\n".join(lines) + "\n")
    put("chrony/cameras.conf", f"# The cameras take their time from this box.\nallow {address.network}\nlocal stratum 10 orphan\n")


def configuration(site: Site, put) -> None:
    """synoptic.toml of the box, with the files that it names."""
    lines = ["# Made from a site file when the box was flashed.", "schema_version = 1", ""]
    if site.get("box.name"):
        lines += ["[device]", f"name = {quoted(site.get('box.name'))}", ""]
    listen = site.get("page.listen") or ["127.0.0.1:8080", "[::]:8443"]
    lines += ["[web]", "listen = [" + ", ".join(quoted(a) for a in listen) + "]", ""]
    if site.has("mqtt"):
        lines += ["[mqtt]", f"url = {quoted(site.get('mqtt.url'))}"]
        lines += [f"{k} = {quoted(site.get('mqtt.' + k))}" for k in ("root", "tenant", "user", "home_assistant") if site.get(f"mqtt.{k}")]
        for key, name, written in (
            ("password_file", "mqtt.password", 'password = { file = "mqtt.password" }'),
            ("ca_file", "broker-ca.crt", 'ca = "broker-ca.crt"'),
            ("client_cert_file", "mqtt-client.crt", 'client_cert = "mqtt-client.crt"'),
            ("client_key_file", "mqtt-client.key", 'client_key = "mqtt-client.key"'),
        ):
            if site.get(f"mqtt.{key}") is not None:
                put(f"synoptic/{name}", str(site.get(f"mqtt.{key}")))
                lines.append(written)
    put("synoptic/synoptic.toml", "\n".join(lines).rstrip() + "\n")


def render(site: Site, folder: str) -> None:
    """Writes everything below `folder`, which must be new: only its maker may read it."""
    os.mkdir(folder, 0o700)
    sums: list[str] = []

    def put(name: str, content: str) -> None:
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8", newline="") as file:
            file.write(content)
        sums.append(f"{hashlib.sha256(content.encode()).hexdigest()}  {name}\n")

    put("SITE", "synoptic-site 1\n")
    if site.get("box.hostname"):
        put("hostname", f"{site.get('box.hostname')}\n")
    if site.get("box.timezone"):
        put("timezone", f"{site.get('box.timezone')}\n")
    if site.has("network"):
        put("network/10-site-uplink.network", uplink(site, str(site.get("network.interface", UPLINK))))
        if site.get("network.ntp"):
            put("chrony/site.sources", "".join(f"server {s} iburst\n" for s in site.get("network.ntp", [])))
    if site.has("wifi"):
        wifi(site, put)
    if site.has("cameras"):
        cameras(site, put)
    configuration(site, put)
    keys = list(site.get("ssh.authorized_keys", []))
    keys += [x.strip() for x in str(site.get("ssh.authorized_keys_file", "")).splitlines() if x.strip() and not x.startswith("#")]
    if keys:
        put("ssh/authorized_keys", "".join(f"{key}\n" for key in keys))
    if site.get("page.password_file") is not None:
        put("web-password", password_hash(str(site.get("page.password_file"))))
    if site.get("fleet.token_file") is not None:
        put("fleet-token", str(site.get("fleet.token_file")))
    # Last: a folder without sums, or with wrong ones, was not written to its end.
    put("SHA256SUMS", "".join(sums))


def main() -> int:
    """Parses the command line."""
    if len(sys.argv) < 3 or sys.argv[1] not in ("check", "render") or len(sys.argv) != {"check": 3, "render": 4}[sys.argv[1]]:
        sys.exit(__doc__)
    stdin = None if sys.stdin is None or sys.stdin.isatty() else sys.stdin.buffer.read(64 * 1024 + 1)
    site = Site(sys.argv[2], stdin or None)
    site.read()
    if not site.problems:
        site.check()
    for line, key, what in sorted(site.problems):
        print(f"{sys.argv[2]}:{line}: {key + ': ' if key else ''}{what}")
    if site.problems:
        return WRONG
    if sys.argv[1] == "render":
        render(site, sys.argv[3])
    return 0


if __name__ == "__main__":
    sys.exit(main())
