"""What all tests share: the backends, and how hypothesis draws."""

import os
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, Phase, settings

from scratchnet import __version__
from scratchnet import backend as backends
from scratchnet.cache_folder import cache_folder
from scratchnet.errors import InputError

# Tests keep data in folders of their own, and the compiled kernels where they always are.
if "NUMBA_CACHE_DIR" not in os.environ:
    with suppress(InputError):  # no home
        os.environ["NUMBA_CACHE_DIR"] = str(cache_folder() / f"kernels-{__version__}")

# The same examples every time, so that a failure is everyone's failure; HYPOTHESIS_PROFILE=explore draws new ones.
# A backend holds for all examples of a test alike, so the fixture may stand beside @given.
COMMON = {"deadline": None, "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]}
settings.register_profile("default", derandomize=True, database=None, max_examples=20, **COMMON)
settings.register_profile("explore", max_examples=200, **COMMON)
# For experiments/mutation.py, which asks whether a test fails, not at which simplest example.
AT_ONCE = [Phase.explicit, Phase.generate]
settings.register_profile("fail at once", derandomize=True, database=None, max_examples=20, phases=AT_ONCE, **COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# SCRATCHNET_TEST_BACKENDS="cpu" tests that one alone.
CHOSEN = os.environ.get("SCRATCHNET_TEST_BACKENDS", "reference cpu cuda").split()
BACKENDS = [pytest.param(name, marks=pytest.mark.gpu if name == "cuda" else ()) for name in CHOSEN]


# Their tests share trained runs, which every worker would have to train.
TOGETHER = ("tests/cli", "tests/experiments/figures")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A module's tests go to one worker, and so do those of a folder of `TOGETHER`."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFolder(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            folder = nodeid.partition("::")[0].rpartition("/")[0]
            return folder if folder in TOGETHER else super()._split_scope(nodeid)

    return ByFolder(config, log) if config.getvalue("dist") == "loadscope" else None


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
