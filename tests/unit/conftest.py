"""What holds for all unit tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# How fast a machine is says nothing about the code: beside other work, examples of microseconds took their time
settings.register_profile("podium", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("podium")
