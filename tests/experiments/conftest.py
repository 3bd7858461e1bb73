"""A tiny data set for whole experiments, and PiczakNet a hundredth as wide: seconds instead of minutes."""

from importlib import import_module

import numpy as np
import pytest
import soundfile

from scratchnet.layers import Dense
from scratchnet.training import run

RATE = 22050
PITCH = {"high": 4000, "low": 200}


def narrow(in_features, out_features, **how):
    """A Dense layer with 50 units where PiczakNet has 5000."""
    small = {5000: 50}
    return Dense(small.get(in_features, in_features), small.get(out_features, out_features), **how)


def write(root, folds=3, clips=1):
    """ESC-10's layout: two classes of tones; every fold has `clips` of each, of 1.5 s: two segments."""
    for number, (name, pitch) in enumerate(PITCH.items(), 1):
        (root / f"00{number} - {name}").mkdir(parents=True)
        for fold in range(1, folds + 1):
            for clip in range(clips):
                rng = np.random.default_rng([number, fold, clip])
                time = np.arange(int(1.5 * RATE)) / RATE
                x = 0.5 * np.sin(2 * np.pi * pitch * rng.uniform(0.8, 1.2) * time) + 0.05 * rng.normal(size=len(time))
                path = root / f"00{number} - {name}" / f"{fold}-{number}{fold}{clip}-A.ogg"
                soundfile.write(path, x, RATE, format="OGG", subtype="VORBIS")
    return root


@pytest.fixture(scope="module")
def small():
    """Narrow networks, and a cache of their own, for a whole module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(import_module("scratchnet.nets.piczaknet"), "Dense", narrow)
        patch.setattr(run, "_draw", lambda config, folder, *_: (folder.path / "curves.png").touch())  # most of its time
        yield patch


@pytest.fixture(scope="module")
def tones(small, tmp_path_factory):
    small.setenv("SCRATCHNET_CACHE", str(tmp_path_factory.mktemp("cache")))
    return write(tmp_path_factory.mktemp("data") / "tones")


@pytest.fixture
def write_folds():
    """The function that makes such a data set."""
    return write
