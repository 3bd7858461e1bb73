"""What all tests share: the backends, and how hypothesis draws."""

import os

import pytest
from hypothesis import HealthCheck, settings

from scratchnet import backend as backends
from scratchnet.errors import InputError

# The same examples every time, so that a failure is everyone's failure; HYPOTHESIS_PROFILE=explore draws new ones.
# A backend holds for all examples of a test alike, so the fixture may stand beside @given.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}
settings.register_profile("default", derandomize=True, database=None, max_examples=20, **COMMON)
settings.register_profile("explore", max_examples=200, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

BACKENDS = ["reference", "cpu", pytest.param("cuda", marks=pytest.mark.gpu)]


@pytest.fixture(params=BACKENDS)
def backend(request):
    """Runs the test on every backend that is there; its value is the backend's name."""
    if request.param == "cuda":
        try:
            backends.use("cuda")
        except InputError as reason:
            pytest.skip(str(reason))
    yield backends.use(request.param)
    backends.use("cpu")
