"""Mixtures of two segments: of what they are made, what is learned from them; a stopped epoch goes on alike."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet import backend as backends
from scratchnet.losses import SoftmaxCrossEntropy
from scratchnet.sound import SoundSettings
from scratchnet.training.mixup import Mixture, MixtureCrossEntropy, mix
from tests.support import rounding, seeds


@given(seed=seeds, n=st.integers(1, 9), alpha=st.floats(0.05, 5))
def test_segments_and_classes_are_mixed_alike(backend, seed, n, alpha):
    """With one-hot segments a mixture is its own target, so what was mixed can be read off."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 4, n)
    x = np.eye(4, dtype="float32")[label]
    mixed, target = mix(backends.asarray(x), backends.asarray(label), alpha, rng)
    first, second = backends.to_numpy(target.first), backends.to_numpy(target.second)
    assert 0.5 <= target.share <= 1 and len(target) == n
    assert np.array_equal(first, label) and np.array_equal(np.sort(second), np.sort(label))
    expected = target.share * np.eye(4)[first] + (1 - target.share) * np.eye(4)[second]
    # Two factors rounded to float32, two products and a sum, all at most 1: five half units.
    np.testing.assert_allclose(backends.to_numpy(mixed), expected, atol=5 * 2.0**-24)


@given(seed=seeds, n=st.integers(1, 5), share=st.floats(0.5, 1))
def test_the_loss_is_the_cross_entropy_to_the_shares(backend, seed, n, share):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3))
    first, second = rng.integers(0, 3, n), rng.integers(0, 3, n)
    wanted = share * np.eye(3)[first] + (1 - share) * np.eye(3)[second]
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)

    loss = MixtureCrossEntropy()
    given = Mixture(backends.asarray(first), backends.asarray(second), share)
    value = loss.forward(backends.asarray(logits), given)
    # Differences of logits up to 6, exponentials, logarithms, sums of 3, there and here, come to 40 half units of 1;
    # the loss is 0.1 at least, so relatively to 400.
    expected = -(wanted * np.log(probabilities)).sum() / n
    assert float(backends.to_numpy(value)) == pytest.approx(expected, rel=rounding("float64", 400))
    gradient = backends.to_numpy(loss.backward())
    # Of numbers up to 1: as above, with 10 more for quotients and mixing.
    np.testing.assert_allclose(gradient, (probabilities - wanted) / n, rtol=0, atol=rounding("float64", 50))


class Segments:
    """Eleven segments whose values tell which they are."""

    settings = SoundSettings(n_mels=4, n_frames=3)
    label = np.arange(11) % 3
    clip = np.arange(11)

    def logmels(self, indices, out=None, mean=0.0, std=1.0):
        out = np.empty((len(indices), 1, 4, 3), np.float32) if out is None else out
        out[:] = indices[:, None, None, None]
        return out

    def __len__(self):
        return 11


def task(**options):
    from scratchnet.training.inputs import Normalisation
    from scratchnet.training.tasks import Classification

    indices = np.arange(11)
    return Classification(Segments(), indices, indices, "logmel", Normalisation(), batch_size=4, seed=(0, 0), **options)


def test_an_epoch_of_mixtures_goes_on_where_it_stopped():
    whole = [(x.copy(), target) for x, target in task(mixup=0.4).batches(2, 0)]
    assert [len(target) for _, target in whole] == [4, 4, 3]
    assert len({target.share for _, target in whole}) == 3
    for (x, target), (expected, wanted) in zip(task(mixup=0.4).batches(2, 1), whole[1:], strict=True):
        np.testing.assert_array_equal(x, expected)
        assert target.share == wanted.share and np.array_equal(target.second, wanted.second)
    other = next(iter(task(mixup=0.4).batches(3, 0)))[1]
    assert other.share != whole[0][1].share


def test_what_is_right_goes_by_the_larger_share():
    prediction = np.eye(3)[[0, 1, 2]]
    target = Mixture(np.array([0, 1, 1]), np.array([2, 2, 2]), 0.7)
    assert task(mixup=0.4).correct(prediction, target) == 2


def test_without_mixup_nothing_is_mixed():
    plain = task()
    assert isinstance(plain.loss, SoftmaxCrossEntropy)
    x, label = next(iter(plain.batches(1, 0)))
    assert np.array_equal(label, np.int64(x[:, 0, 0, 0]) % 3)


def test_a_run_with_mixup(tmp_path, monkeypatch):
    """Through the command line, on a folder of sounds."""
    soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
    from scratchnet import train

    monkeypatch.setenv("SCRATCHNET_CACHE", str(tmp_path / "cache"))
    for label, name in enumerate(("low", "high")):
        (tmp_path / "tones" / name).mkdir(parents=True)
        for take in range(4):
            wave = np.sin(2 * np.pi * (300, 3000)[label] * np.arange(33000) / 22050 + take)
            soundfile.write(tmp_path / "tones" / name / f"{name}-{'abcd'[take]}.wav", 0.5 * wave, 22050)
    given = ["--data", str(tmp_path / "tones"), "--net", "sbcnn", "--epochs", "1", "--batch-size", "8", "--quiet"]
    results = []
    for name, options in {"mixed": ["--mixup", "0.4"], "again": ["--mixup", "0.4"], "plain": []}.items():
        out = tmp_path / name
        assert train.main([*given, *options, "--backend", "cpu", "--out", str(out)]) == 0
        results.append((out / "model.safetensors").read_bytes()[-4000:])
    assert results[0] == results[1] != results[2]
