"""The synthetic data set: its layout, that it is a pure function of its seed, that it is sound, and neither trivial nor
told by loudness or length."""

import csv
import filecmp
from collections import defaultdict

import numpy as np
import pytest

from scratchnet.data import synthetic
from scratchnet.errors import InputError
from scratchnet.sound import SoundSettings, log_melspectrogram

soundfile = pytest.importorskip("soundfile", reason="needs soundfile")

CLASSES = 10
SETTINGS = SoundSettings()


def table(root):
    with open(root / "metadata" / "UrbanSound8K.csv", newline="") as file:
        return list(csv.DictReader(file))


def path_of(root, row):
    return root / "audio" / f"fold{row['fold']}" / row["slice_file_name"]


def balanced_accuracy(truth, predicted):
    return np.mean([np.mean(predicted[truth == k] == k) for k in range(CLASSES)])


def nearest_centroid(features, label, fold, test_fold, standardize):
    """Balanced accuracy on one fold of the nearest class mean over the eight training folds."""
    train = (fold != test_fold) & (fold != (test_fold - 2) % 10 + 1)
    test = fold == test_fold
    if standardize:
        features = (features - features[train].mean(axis=0)) / features[train].std(axis=0)
    centroids = np.stack([features[train & (label == k)].mean(axis=0) for k in range(CLASSES)])
    distance = np.square(features[test][:, None] - centroids).sum(axis=-1)
    return balanced_accuracy(label[test], distance.argmin(axis=1))


@pytest.fixture(scope="module")
def default_set(tmp_path_factory):
    """The set that training takes unasked: seed 0, default size."""
    return synthetic.make(tmp_path_factory.mktemp("synthetic") / "set")


@pytest.fixture(scope="module")
def clips(default_set):
    """[(samples, label, fold)] of the default set."""
    return [
        (soundfile.read(path_of(default_set, row), dtype="float32")[0], int(row["classID"]), int(row["fold"]))
        for row in table(default_set)
    ]


@pytest.fixture(scope="module")
def segments(clips):
    """Log-Mel-spectrograms (n, 60, 41) of all the segments of the peak-normalised clips, labels and folds (n,)."""
    length, hop = SETTINGS.segment_length, SETTINGS.segment_hop
    cut = [
        (log_melspectrogram(x[start : start + length] / np.abs(x).max())[:, :41], label, fold)
        for x, label, fold in clips
        for start in range(0, len(x) - length + 1, hop)
    ]
    spectrograms, label, fold = zip(*cut)
    return np.stack(spectrograms), np.array(label), np.array(fold)


def test_layout_is_urbansound8ks(default_set):
    with open(default_set / "metadata" / "UrbanSound8K.csv") as file:
        assert file.readline().strip() == "slice_file_name,fsID,start,end,salience,fold,classID,class"
    rows = table(default_set)
    named = {path_of(default_set, row) for row in rows}
    assert named == set((default_set / "audio").rglob("*.wav")) and len(named) == len(rows)
    folds_of_recording = defaultdict(set)
    for row in rows:
        source, label, _, _ = row["slice_file_name"].removesuffix(".wav").split("-")
        assert (source, label) == (row["fsID"], row["classID"])
        assert row["class"] == synthetic.CLASSES[int(label)]
        assert row["salience"] in "12"
        folds_of_recording[source].add(row["fold"])
        info = soundfile.info(path_of(default_set, row))
        assert (info.samplerate, info.channels, info.subtype) == (22050, 1, "PCM_16")
        assert info.duration == pytest.approx(float(row["end"]) - float(row["start"]), abs=2e-6)  # six decimals each
    assert all(len(folds) == 1 for folds in folds_of_recording.values())
    count = defaultdict(int)
    for row in rows:
        count[row["fold"], row["classID"]] += 1
    assert len(count) == 10 * CLASSES and set(count.values()) == {synthetic.CLIPS_PER_CLASS // 10}


def test_classes_are_urbansound8ks():
    assert synthetic.CLASSES == (
        "air_conditioner", "car_horn", "children_playing", "dog_bark", "drilling",
        "engine_idling", "gun_shot", "jackhammer", "siren", "street_music",
    )  # fmt: skip


def test_clips_are_whole(clips):
    for x, _, _ in clips:
        assert 22050 <= len(x) <= 4 * 22050
        assert np.isfinite(x).all()
        assert 0.1 < np.abs(x).max() < 0.95  # peaks are drawn from -12 to -1 dB: nothing is clipped
        assert abs(x.mean()) < 0.05 * np.abs(x).max()


def test_no_segment_is_silent(segments):
    spectrograms, _, _ = segments
    assert 1500 <= len(spectrograms) <= 2500
    assert spectrograms.mean(axis=(1, 2)).min() > SETTINGS.silence_db + 10


@pytest.mark.parametrize("standardize", [True, False])
def test_mean_spectrum_does_not_tell_the_class(segments, standardize):
    """The bar of the default split: nearest centroid of the mean log-Mel spectrum stays under 0.70; far above chance,
    for real sounds have colours too."""
    spectrograms, label, fold = segments
    accuracy = nearest_centroid(spectrograms.mean(axis=2), label, fold, 10, standardize)
    assert 0.2 < accuracy < 0.70


@pytest.mark.parametrize(
    "feature",
    [
        lambda x: len(x),
        lambda x: np.log(np.sqrt(np.mean(np.square(x)))),
        lambda x: np.log(np.abs(x).max()),
        lambda x: np.log(np.sqrt(np.mean(np.square(x))) / np.abs(x).max()),
    ],
    ids=["length", "level", "peak", "level after peak normalisation"],
)
def test_length_and_loudness_do_not_tell_the_class(clips, feature):
    """Guessing among ten classes hits 0.1 of 600 clips, with a standard deviation of sqrt(0.1 * 0.9 / 600) = 0.012:
    0.16 is five of them."""
    values = np.array([[feature(x)] for x, _, _ in clips])
    label, fold = np.array([clip[1:] for clip in clips]).T
    assert np.mean([nearest_centroid(values, label, fold, k, True) for k in range(1, 11)]) < 0.16


def test_same_seed_same_files_whatever_the_workers(tmp_path):
    one = synthetic.make(tmp_path / "one", seed=3, clips_per_class=2, workers=1)
    two = synthetic.make(tmp_path / "two", seed=3, clips_per_class=2, workers=3)
    other = synthetic.make(tmp_path / "other", seed=4, clips_per_class=2)
    rows = table(one)
    assert rows == table(two) and len(rows) == 20
    assert all(filecmp.cmp(path_of(one, row), path_of(two, row), shallow=False) for row in rows)
    assert not any(filecmp.cmp(path_of(one, row), path_of(other, row), shallow=False) for row in rows)


def test_made_once_and_whole(tmp_path, monkeypatch):
    done = []
    root = synthetic.make(tmp_path / "set", clips_per_class=1, progress=lambda *now: done.append(now))
    assert done == [(k, 10) for k in range(1, 11)]
    monkeypatch.setattr(synthetic, "record", None)  # a second call must not record anything
    assert synthetic.make(tmp_path / "set", clips_per_class=1) == root
    with pytest.raises(TypeError):
        synthetic.make(tmp_path / "broken", clips_per_class=1)
    assert [path.name for path in tmp_path.iterdir()] == ["set"]  # a set that failed leaves nothing behind


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="holds no synthetic data set"):
        synthetic.make(tmp_path)
    with pytest.raises(InputError, match="clips_per_class"):
        synthetic.make(tmp_path / "new", clips_per_class=0)
    with pytest.raises(InputError, match="seed"):
        synthetic.make(tmp_path / "new", seed=-1)


def test_default_root_follows_cache_generator_and_settings(tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCHNET_CACHE", str(tmp_path))
    root = synthetic.default_root()
    assert root.parent == tmp_path
    assert len({root, synthetic.default_root(seed=1), synthetic.default_root(clips_per_class=7)}) == 3
    monkeypatch.setattr(synthetic, "version", lambda: "another")
    assert synthetic.default_root() != root
