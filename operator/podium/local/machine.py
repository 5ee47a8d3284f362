"""What system.json says about the machine of a local run."""

from __future__ import annotations

import os
import platform
import socket
from pathlib import Path
from typing import Any


def this_machine() -> dict[str, Any]:
    """Return the processor, memory and operating system of this machine."""
    return {
        "name": socket.gethostname(),
        "capacity": {"cpu": str(os.cpu_count()), "memory": f"{_memory_kib()}Ki"},
        "info": {
            "architecture": platform.machine(),
            "kernelVersion": platform.release(),
            "osImage": _os_name(),
            "processor": _processor(),
        },
    }


def _memory_kib() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 1024


def _os_name() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return platform.system()


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
