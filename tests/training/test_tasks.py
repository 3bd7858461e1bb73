"""What an epoch trains on where clips have augmented variants, and a training with them from end to end."""

import json
import os
import signal
from types import SimpleNamespace

import numpy as np
import pytest

from scratchnet import evaluate, train
from scratchnet.data import open_source, prepare, split
from scratchnet.sound import Augmentation, segment_log_mel
from scratchnet.training.inputs import Normalisation
from scratchnet.training.screen import Screen
from scratchnet.training.tasks import Classification, Forcing, training_epochs
from tests.support import rounding

soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
RATE = 22050


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """Three classes of five recordings each, under names of which one is in Piczak's table."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRATCHNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        root = tmp_path_factory.mktemp("data") / "tones"
        for label, name in enumerate(("siren", "hum", "buzz")):
            (root / name).mkdir(parents=True)
            for take in range(5):
                rng = np.random.default_rng([label, take])
                wave = np.sin(2 * np.pi * (200, 900, 4000)[label] * np.arange(int(1.5 * RATE)) / RATE)
                soundfile.write(
                    root / name / f"{name}-{'abcde'[take]}.wav", 0.5 * wave + 0.05 * rng.normal(size=len(wave)), RATE
                )
        yield root


@pytest.fixture(scope="module")
def augmented(tree):
    return prepare(open_source(tree), augmentation=Augmentation(2))


def test_an_epoch_is_a_function_of_seed_phase_and_epoch(augmented):
    indices = split(augmented, 1)[0]
    draw = training_epochs(augmented, indices, (7, 0), True)
    epochs = [draw(epoch) for epoch in (1, 2, 3)]
    again = training_epochs(augmented, indices, (7, 0), True)  # as a resumed run makes it
    np.testing.assert_array_equal(again(3), epochs[2])
    np.testing.assert_array_equal(again(1), epochs[0])
    others = [training_epochs(augmented, indices, seed, True)(1) for seed in ((8, 0), (7, 1))]
    for other in (*epochs[1:], *others):
        assert len(other) == len(epochs[0]) and not np.array_equal(other, epochs[0])


def test_all_variants_every_epoch_on_request(augmented):
    indices = split(augmented, 1)[0]
    assert training_epochs(augmented, indices, (7, 0), False)(5) is indices


def classification(segments, draw, feature="logmel", **options):
    indices, valid, _ = split(segments, 1)
    norm = Normalisation(-30.0, 10.0)
    return Classification(segments, indices, valid, feature, norm, batch_size=4, seed=(3, 0), draw=draw, **options)


def test_an_epoch_has_as_many_steps_as_without_augmentation(tree, augmented):
    plain = classification(prepare(open_source(tree)), False)
    drawn, everything = classification(augmented, True), classification(augmented, False)
    assert drawn.steps == plain.steps < everything.steps
    for epoch in (1, 2):
        assert len(list(drawn.batches(epoch, 0))) == drawn.steps
    assert sum(len(y) for _, y in everything.batches(1, 0)) == len(split(augmented, 1)[0])
    balanced = classification(augmented, True, balanced=True)
    assert len(list(balanced.batches(2, 0))) == balanced.steps


@pytest.mark.parametrize("feature", ["logmel", "waveform"])
def test_mini_batches_show_variants_and_resume_where_they_stopped(augmented, feature):
    task = classification(augmented, True, feature)
    whole = [(x.copy(), y) for x, y in task.batches(2, 0)]
    for (x, y), (expected, label) in zip(task.batches(2, 2), whole[2:], strict=True):
        np.testing.assert_array_equal(x, expected)
        np.testing.assert_array_equal(y, label)
    indices = split(augmented, 1)[0]
    variants = indices[augmented.variant[indices] > 0]
    if feature == "logmel":
        known = augmented.logmels(variants, mean=-30.0, std=10.0)
    else:
        known = augmented.waveforms(variants)
    seen = np.concatenate([x for x, _ in whole])
    found = sum((known == x).all(axis=tuple(range(1, known.ndim))).any() for x in seen)
    assert 0 < found <= len(seen)


def test_forcing_pairs_a_variants_waveform_with_its_own_spectrogram(augmented):
    indices, valid, _ = split(augmented, 1)
    task = Forcing(augmented, indices, valid, Normalisation(-30.0, 10.0), batch_size=4, seed=(3, 5), draw=True)
    batches = list(task.batches(1, 0))
    assert len(batches) == task.steps == classification(augmented, True).steps
    x, target = next(iter(task.batches(3, 0)))
    expected = (segment_log_mel(x[:, 0], augmented.settings) + 30) / 10
    # Of float32: ours is a product with 1/10, rounded as the product is, the test's a quotient: 3 roundings.
    np.testing.assert_allclose(target, expected, rtol=rounding("float32", 3))


# -- from end to end

GIVEN = ["--backend", "cpu", "--net", "piczaknet", "--epochs", "2", "--batch-size", "8", "--augment", "2"]


def run(tree, out, *more):
    return train.main([*GIVEN, "--data", str(tree), "--out", str(out), *more])


def figures(folder):
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for row in rows:
        del row["seconds"], row["waited"]
    return rows, json.loads((folder / "result.json").read_text())["test"]


def test_a_run_with_variants_is_interrupted_resumed_and_evaluated(tree, tmp_path, monkeypatch, capsys):
    assert run(tree, tmp_path / "whole") == 0
    said = capsys.readouterr().out
    assert "15 clips" in said and "2 variants of every training clip" in said and "draws one of each" in said
    config = json.loads((tmp_path / "whole" / "config.json").read_text())
    assert (config["augment"], config["augment_epoch"], config["augment_shift"]) == (2, "draw", 1.0)
    rows, test = figures(tmp_path / "whole")
    assert len(rows) == 2

    # the test fold is the one of a run without augmentation
    assert np.sum(test["confusion"]) == len(split(prepare(open_source(tree)), 5)[2])
    assert evaluate.main([str(tmp_path / "whole"), "--backend", "cpu", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["confusion"] == test["confusion"]

    count, original = SimpleNamespace(steps=0), Screen.step

    def stop(self, *arguments):
        count.steps += 1
        if count.steps == 3:
            os.kill(os.getpid(), signal.SIGINT)
        original(self, *arguments)

    monkeypatch.setattr(Screen, "step", stop)
    assert run(tree, tmp_path / "stopped") == 130
    monkeypatch.setattr(Screen, "step", original)
    assert train.main(["--resume", str(tmp_path / "stopped")]) == 0
    assert figures(tmp_path / "stopped") == (rows, test)


def test_all_variants_make_longer_epochs(tree, tmp_path, capsys):
    assert run(tree, tmp_path / "all", "--augment-epoch", "all", "--deltas", "librosa031", "--epochs", "1") == 0
    assert "an epoch has them all" in capsys.readouterr().out
