"""What a scenario may need of a box, each with a look at the box that says why it lacks it."""

from __future__ import annotations

from collections.abc import Callable

# A command whose last word is `there`, or whose last line says what is missing.
LOOKS: dict[str, str] = {
    "jetson": "tr '\\0' '\\n' </proc/device-tree/compatible 2>/dev/null | grep -q '^nvidia,tegra' && echo there || echo it is no Jetson",
    "csi": "for f in /sys/class/video4linux/*/name; do grep -lq 'vi-output' \"$f\" 2>/dev/null && echo there && exit; done; echo no CSI camera is there: no /dev/video of vi-output",
    "gpu": "ls /dev/nvidiactl /dev/nvhost-ctrl-gpu /dev/nvgpu/igpu0/ctrl >/dev/null 2>&1; ls /dev/nvidiactl >/dev/null 2>&1 || ls /dev/nvhost-ctrl-gpu >/dev/null 2>&1 || ls /dev/nvgpu >/dev/null 2>&1 && echo there || echo no GPU of NVIDIA is there",
    "encoder": "ls /dev/v4l2-nvenc /dev/nvhost-msenc >/dev/null 2>&1; ls /dev/v4l2-nvenc >/dev/null 2>&1 || ls /dev/nvhost-msenc >/dev/null 2>&1 && echo there || echo this chip has no video encoder",
    "thermal": "ls /sys/class/thermal/thermal_zone0/temp >/dev/null 2>&1 && echo there || echo no sensor of temperature is there",
    "ptp": "ls /dev/ptp0 >/dev/null 2>&1 && systemctl --quiet is-active 'ptp4l*' && echo there || echo no ptp4l runs",
    "rauc": "rauc status >/dev/null 2>&1 && echo there || echo RAUC does not run on it: it is not of our image",
    "units": "test -e /usr/lib/synoptic/synoptic-health-gate && echo there || echo it is not of our image",
}


def on(machine, options, bundles) -> Callable[[str], str | None]:
    """The looks at one box; each is taken once."""
    seen: dict[str, str | None] = {}

    def look(need: str) -> str | None:
        if why := machine.lacks(need):
            return why
        if need == "bundles":
            return bundles.lacks()
        if need == "broker":
            return options.broker_lacks
        if need not in LOOKS:
            return None
        said = machine.ssh(LOOKS[need], check=False).splitlines() or ["it did not answer"]
        return None if said[-1] == "there" else said[-1]

    def once(need: str) -> str | None:
        if need not in seen:
            seen[need] = look(need)
        return seen[need]

    return once
