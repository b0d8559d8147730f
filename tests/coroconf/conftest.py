"""No test asserts on wall time: hypothesis, too, takes as long as the machine needs."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
