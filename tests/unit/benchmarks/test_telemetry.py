"""tracked_stats: what a line contains, with a GPU and without."""

import sys
from types import SimpleNamespace
from unittest import mock

import pytest
import torch

from podium_benchmarks.core.dist import Ranks
from podium_benchmarks.core.gpu import GpuMeter, Reading
from podium_benchmarks.core.mllog import Log
from podium_benchmarks.core.telemetry import Progress

CUDA = torch.device("cuda", 1)


class FakeNvml:
    """The five calls of pynvml that are used; one GPU with a counter of energy."""

    class NVMLError(Exception):
        """As pynvml's."""

    def __init__(self, uuid="GPU-b0b"):
        self.uuid, self.millijoules, self.utilization, self.broken = uuid, 5_000_000, 0, False

    def nvmlInit(self):  # noqa: N802
        """Nothing to do."""

    def nvmlDeviceGetHandleByUUID(self, uuid):  # noqa: N802
        if uuid != self.uuid:
            raise self.NVMLError(f"no {uuid}")
        return "handle"

    def nvmlDeviceGetTotalEnergyConsumption(self, handle):  # noqa: N802
        if self.broken:
            raise self.NVMLError("GPU is lost")
        return self.millijoules

    def nvmlDeviceGetUtilizationRates(self, handle):  # noqa: N802
        return SimpleNamespace(gpu=self.utilization, memory=10)


@pytest.fixture
def nvml(monkeypatch):
    """A machine whose second visible GPU is the one that NVML calls GPU-b0b."""
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    devices = {CUDA: SimpleNamespace(uuid="b0b")}
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: devices[device])
    return fake


def test_a_meter_counts_from_when_it_was_made(nvml):
    meter = GpuMeter(CUDA)
    nvml.millijoules, nvml.utilization = 5_250_500, 97
    assert meter.read() == Reading(utilization=97.0, joules=250.5)


def test_without_gpu_nvml_or_counter_there_is_no_reading(nvml, monkeypatch):
    assert GpuMeter(torch.device("cpu")).read() is None
    meter = GpuMeter(CUDA)
    nvml.broken = True
    assert meter.read() is None  # it broke in the middle of a run
    assert GpuMeter(CUDA).read() is None  # it never worked
    nvml.broken, nvml.uuid = False, "GPU-another"
    assert GpuMeter(CUDA).read() is None
    monkeypatch.setitem(sys.modules, "pynvml", None)  # not installed
    assert GpuMeter(CUDA).read() is None


def lines_of(reading, capsys, log_lines):
    """The lines of three steps of 8 samples whose meter gives `reading`."""
    ranks = Ranks(rank=0, world_size=1, device=torch.device("cpu"), cores=1)
    with mock.patch.object(GpuMeter, "read", return_value=reading):
        progress = Progress(Log(enabled=True), ranks, interval_seconds=0)
        for step, _ in enumerate(progress.timed(range(3)), start=1):
            progress.step(torch.tensor(16.0), 8, step / 3)
    return log_lines(capsys.readouterr().out)


def test_a_line_tells_pace_loss_waiting_and_what_the_gpus_do(capsys, log_lines):
    lines = lines_of(Reading(utilization=93.0, joules=1234.56), capsys, log_lines)
    assert [line["metadata"]["samples_count"] for line in lines] == [8, 16, 24]
    values = lines[-1]["value"]
    assert list(values) == ["throughput", "loss", "data_wait_share", "gpu_utilization", "energy_joules"]
    assert (values["loss"], values["gpu_utilization"], values["energy_joules"]) == (2.0, 93.0, 1234.6)


def test_a_line_without_gpus_does_not_speak_of_them(capsys, log_lines):
    values = lines_of(None, capsys, log_lines)[-1]["value"]
    assert list(values) == ["throughput", "loss", "data_wait_share"]


def test_the_fake_has_the_names_of_the_real_module():
    pynvml = pytest.importorskip("pynvml")

    for name in (name for name in vars(FakeNvml) if name.startswith(("nvml", "NVML"))):
        assert hasattr(pynvml, name)
