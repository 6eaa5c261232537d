"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# no test is about time: a machine that does something else is no reason to fail
settings.register_profile(
    "patient",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("patient")
