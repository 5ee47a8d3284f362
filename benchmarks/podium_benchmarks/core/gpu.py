"""What the GPU of a rank is doing and has used, from NVML."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Reading:
    """`utilization` is the percentage of the last sampling period (up to a second) in which kernels ran."""

    utilization: float
    joules: float  # since the meter was made


class GpuMeter:
    """Reads one device; returns None without a GPU, without NVML, or from GPUs too old to count energy."""

    def __init__(self, device: torch.device) -> None:
        self._nvml: Any = None
        if device.type != "cuda":
            return
        try:
            nvml = importlib.import_module("pynvml")  # of nvidia-ml-py
        except ImportError:
            return
        try:
            nvml.nvmlInit()
            # NVML counts all devices of the machine, torch those it may see: only the UUID means the same to both
            uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
            self._handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
            self._start_millijoules = nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)
            self._nvml = nvml
        except nvml.NVMLError:
            return

    def read(self) -> Reading | None:
        """Now."""
        if self._nvml is None:
            return None
        try:
            utilization = self._nvml.nvmlDeviceGetUtilizationRates(self._handle).gpu
            used = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) - self._start_millijoules
        except self._nvml.NVMLError:  # a driver that is being reset must not end a run
            return None
        return Reading(float(utilization), used / 1000)
