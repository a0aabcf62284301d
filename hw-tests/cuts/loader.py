"""What the boot loader would start: GRUB's environment block, and the decision of systemd/box/boot/grub.cfg."""

from __future__ import annotations

SIZE = 1024
# GRUB, grub-core/lib/envblk.c and include/grub/lib/envblk.h.
SIGNATURE = b"# GRUB Environment Block\n"
DEFAULTS = {"ORDER": "A B", "A_OK": "1", "B_OK": "1", "A_TRY": "0", "B_TRY": "0"}


def environment(block: bytes) -> dict[str, str] | None:
    """The variables of a block; None where GRUB would not take it for one."""
    if len(block) != SIZE or not block.startswith(SIGNATURE):
        return None
    found = {}
    for line in block[len(SIGNATURE):].split(b"\n"):
        name, equals, value = line.partition(b"=")
        if equals and not name.startswith(b"#"):
            found[name.decode(errors="replace")] = value.decode(errors="replace").replace("\\\\", "\\")
    return found


def choice(variables: dict[str, str] | None) -> tuple[str, dict[str, str]]:
    """The slot that grub.cfg starts, and the environment after it; a block that cannot be read leaves the defaults."""
    env = {**DEFAULTS, **(variables or {})}
    slot = ""
    for name in env["ORDER"].split():
        if not slot and name in ("A", "B") and env[f"{name}_OK"] == "1" and env[f"{name}_TRY"] != "3":
            slot = name
            env[f"{name}_TRY"] = {"0": "1", "1": "2"}.get(env[f"{name}_TRY"], "3")
    if not slot:
        env["A_TRY"] = env["B_TRY"] = "0"
        for name in env["ORDER"].split():
            if name in ("A", "B") and env[f"{name}_OK"] == "1":
                slot = name
        slot = slot or "A"
        env[f"{slot}_TRY"] = "1"
    return slot, env
