"""Tiny data sets in every layout, written as WAV files of noise bursts whose pitch tells the class."""

import csv

import numpy as np
import pytest

soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
RATE = 22050


def burst(label, seconds, seed):
    """A hum of its class's own pitch in noise, (n,)."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * RATE)) / RATE
    return 0.3 * np.sin(2 * np.pi * 200 * (1 + label) * t) + 0.02 * rng.standard_normal(len(t))


def write(path, label=0, seconds=1.0, seed=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, burst(label, seconds, seed), RATE, subtype="PCM_16")


@pytest.fixture
def write_wav():
    return write


def table(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@pytest.fixture
def write_table():
    return table


US8K_CLASSES = (
    "air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling", "engine_idling", "gun_shot",
    "jackhammer", "siren", "street_music",
)  # fmt: skip


def make_urbansound8k(root, folds=(1, 2, 3), classes=(0, 1, 3), seconds=2.0):
    """One recording a class and fold, two slices of each."""
    rows = []
    for fold in folds:
        for label in classes:
            for slice_number in (0, 1):
                recording = 1000 * fold + label
                name = f"{recording}-{label}-0-{slice_number}.wav"
                write(root / "audio" / f"fold{fold}" / name, label, seconds, recording + slice_number)
                rows.append(
                    dict(slice_file_name=name, fsID=recording, start=0.0, end=seconds, salience=1, fold=fold,
                         classID=label) | {"class": US8K_CLASSES[label]}
                )  # fmt: skip
    table(root / "metadata" / "UrbanSound8K.csv", rows)
    return root


@pytest.fixture
def urbansound8k(tmp_path):
    return make_urbansound8k(tmp_path / "UrbanSound8K")


@pytest.fixture(scope="session")
def shared_set(tmp_path_factory):
    """A set that no test changes."""
    return make_urbansound8k(tmp_path_factory.mktemp("set"), seconds=2.5)


@pytest.fixture(scope="session")
def segments(shared_set, tmp_path_factory):
    from scratchnet.data import open_source, prepare

    return prepare(open_source(shared_set), cache_dir=tmp_path_factory.mktemp("cache"), workers=2)


@pytest.fixture
def esc10(tmp_path):
    root = tmp_path / "ESC-10"
    for number, name in enumerate(("Dog bark", "Rain", "Sea waves"), 1):
        for fold in (1, 2, 3):
            for take in "AB":
                write(root / f"{number:03d} - {name}" / f"{fold}-{100 * number + fold}-{take}.wav", number, 1.0, fold)
    (root / "README.md").write_text("ESC-10")
    return root


@pytest.fixture
def esc50(tmp_path):
    root, rows = tmp_path / "ESC-50", []
    for target, category, esc10 in ((0, "dog", True), (10, "rain", True), (14, "chirping_birds", False)):
        for fold in (1, 2, 3):
            name = f"{fold}-{100 * target + fold}-A-{target}.wav"
            write(root / "audio" / name, target, 1.0, fold)
            rows.append(dict(filename=name, fold=fold, target=target, category=category, esc10=esc10,
                             src_file=100 * target + fold, take="A"))  # fmt: skip
    table(root / "meta" / "esc50.csv", rows)
    return root


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "mine"
    for label, name in enumerate(("cats", "dogs")):
        for recording in range(6):
            for part in (1, 2):
                write(root / name / f"rec{label}{recording}_{part:02d}.wav", label, 1.0, recording)
    return root
