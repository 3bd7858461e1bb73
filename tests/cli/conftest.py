"""A tiny set of recordings, and finished runs on it, which all tests of the commands share."""

from contextlib import redirect_stdout
from io import StringIO

import numpy as np
import pytest
import soundfile

from scratchnet import train

RATE = 22050
PITCH = {"high": 4000, "low": 200, "middle": 900}
QUICK = ["--backend", "cpu", "--net", "piczaknet", "--epochs", "2", "--batch-size", "8"]
ALL_PHASES = ["--backend", "cpu", "--epochs", "1", "--batch-size", "5", "--quiet"]
SAID = {}  # what the runs of the fixtures printed


def tone(name, seed, seconds=1.5):
    rng = np.random.default_rng([seed, *name.encode()])
    time = np.arange(int(seconds * RATE)) / RATE
    return 0.5 * np.sin(2 * np.pi * PITCH[name] * rng.uniform(0.8, 1.2) * time) + 0.05 * rng.normal(size=len(time))


def write_tree(root, count=5):
    """Classes high, low, middle; each recording is in a fold of its own as far as there are folds."""
    for name in PITCH:
        (root / name).mkdir(parents=True)
        for seed in range(count):
            soundfile.write(root / name / f"{name}-{'abcdefgh'[seed]}.wav", tone(name, seed), RATE)
    return root


def fails(capsys, main, arguments, *words, status=2):
    """The command leaves with `status` and one line on standard error that holds `words`."""
    assert main([str(argument) for argument in arguments]) == status
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1, error
    for word in words:
        assert str(word) in error, error


@pytest.fixture(scope="session")
def prepared(tmp_path_factory):
    """Where prepared segments are kept."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module", autouse=True)
def cache(prepared):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRATCHNET_CACHE", str(prepared))
        yield


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("data") / "tones")


@pytest.fixture(scope="session")
def trained(tree, tmp_path_factory, prepared):
    """A finished run of PiczakNet, not to be changed."""
    return finished(tmp_path_factory.mktemp("runs") / "trained", tree, prepared, QUICK)


@pytest.fixture(scope="session")
def icebroken(tree, tmp_path_factory, prepared):
    """A finished run of HeuriNet through all phases, not to be changed."""
    return finished(tmp_path_factory.mktemp("runs") / "icebroken", tree, prepared, ALL_PHASES)


def finished(out, tree, prepared, arguments):
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(StringIO()) as said:
        patch.setenv("SCRATCHNET_CACHE", str(prepared))
        assert train.main([*arguments, "--data", str(tree), "--out", str(out)]) == 0
    SAID[out] = said.getvalue()
    return out
