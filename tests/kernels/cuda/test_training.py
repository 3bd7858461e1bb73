"""Training on the CUDA kernels (run on the CPU), watched: when does the host read what the device holds?"""

from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest

from scratchnet import backend, losses
from scratchnet.data import Batches, Segments
from scratchnet.errors import InputError
from scratchnet.kernels import cuda
from scratchnet.sound import SoundSettings
from scratchnet.training import feed, loop, resident
from scratchnet.training.inputs import Normalisation
from scratchnet.training.stop import Interrupted, Stop
from scratchnet.training.tasks import Forcing
from tests.kernels.cuda.test_batches import Stream
from tests.training.test_loop import Rows, trainer

READS = ("__float__", "__int__", "__bool__", "__index__", "item", "tolist")


class Watched(np.ndarray):
    """An array of the device: counts the times that the host looks into one."""

    count = 0

    def set(self, x, stream):
        np.copyto(self, x)


def _counted(name):
    def read(self, *args):
        Watched.count += 1
        return getattr(np.ndarray, name)(self, *args)

    return read


for _name in READS:
    if hasattr(np.ndarray, _name):
        setattr(Watched, _name, _counted(_name))


@pytest.fixture
def gpu(host, monkeypatch):
    """The backend in use is "cuda", its arrays are watched; nothing is read for as long as the clock stands still."""
    empty, upload = host.empty, host.upload

    def to_numpy(x):
        Watched.count += isinstance(x, Watched)
        return np.array(x)

    monkeypatch.setattr(host, "empty", lambda *args: empty(*args).view(Watched))
    monkeypatch.setattr(host, "upload", lambda a: upload(a).view(Watched))
    monkeypatch.setattr(host, "empty_pinned", np.empty, raising=False)
    monkeypatch.setattr(host, "stream", Stream, raising=False)
    monkeypatch.setattr(host, "new_stream", Stream, raising=False)
    monkeypatch.setattr(backend, "_current", "cuda")
    monkeypatch.setattr(backend, "_of_numpy", cuda)
    monkeypatch.setattr(backend, "asarray", lambda x, dtype=None: np.asarray(x, dtype).view(Watched))
    monkeypatch.setattr(backend, "to_numpy", to_numpy)
    monkeypatch.setattr(loop.time, "monotonic", lambda: 0.0)
    monkeypatch.setattr(losses, "np", SimpleNamespace(ndarray=()))  # targets are checked on the CPU alone
    Watched.count = 0
    yield host
    resident._kept.clear()


def on_gpu(*args, **kwargs):
    made = trainer(*args, **kwargs)
    for layer in made.net.layers.values():
        layer.params = {name: a.view(Watched) for name, a in layer.params.items()}
    return made


@pytest.mark.parametrize("clip_per", ["parameter", "layer"])
def test_nothing_is_read_within_an_epoch(gpu, clip_per):
    """With clipping and norms, whatever the number of steps: no read before the epoch's end, then a handful."""
    reads = {}
    for batch_size in (8, 3):  # 5 and 11 steps an epoch
        given = {"clip_norm": 0.5, "clip_per": clip_per, "grad_norms": True}
        made = on_gpu(Rows(), epochs=1, given=given, batch_size=batch_size)
        within = watch(made)
        Watched.count = 0
        made.run(Stop())
        assert within == [0] * (made.task.steps + 1)
        assert made.listener.steps == 1 and len(made.listener.rows) == 1  # told at the epoch's end
        reads[batch_size] = Watched.count
    assert 0 < reads[8] == reads[3]


def watch(made):
    """The list of reads so far after each step, and before the look at the epoch's end."""
    within, step, look = [], made._step, made._look
    made._step = lambda *args: (step(*args), within.append(Watched.count))
    made._look = lambda: (within.append(Watched.count), look())
    return within


def test_it_trains_as_on_the_cpu(gpu, monkeypatch):
    """The same losses, right predictions and weights as by the CPU's kernels, up to rounding."""
    listener = Rows()
    made = on_gpu(listener, epochs=2, given={"clip_norm": 1.0, "grad_norms": True})
    made.run(Stop())
    launched = {kernel for _, kernel, _ in gpu.launches}
    assert {"gather_segments", "clip", "nesterov", "chunk_squares"} <= launched
    monkeypatch.undo()
    expected = Rows()
    twin = trainer(expected, epochs=2, given={"clip_norm": 1.0, "grad_norms": True})
    twin.run(Stop())
    # 10 steps; sums of at most 33 terms in each of four products a step, on numbers of size 1
    tolerance = 10 * 4 * 33 * 2.0**-24
    for row, other in zip(listener.rows, expected.rows, strict=True):
        assert row["train_accuracy"] == other["train_accuracy"]
        np.testing.assert_allclose(row["train_loss"], other["train_loss"], rtol=tolerance)
        for kind in ("grad_norms", "grad_norms_max"):
            np.testing.assert_allclose(list(row[kind].values()), list(other[kind].values()), rtol=10 * tolerance)
    for name, weight in twin.net.params.items():
        np.testing.assert_allclose(made.net.params[name], weight, rtol=0, atol=tolerance)


def test_a_loss_that_is_no_number_is_found_at_the_epochs_end(gpu):
    made = on_gpu(given={"lr": 1e30, "lr_final": "none"}, epochs=20)
    with (
        pytest.raises(InputError, match=r"diverged in phase 0, epoch \d+.*--lr.*--clip-norm"),
        np.errstate(all="ignore"),
    ):
        made.run(Stop())


def test_a_run_that_was_stopped_goes_on_to_the_same_bits(gpu):
    given = {"grad_norms": True, "clip_norm": 0.5}
    whole = Rows()
    straight = on_gpu(whole, epochs=2, given=given)
    straight.run(Stop())
    stop = Stop()
    first = Rows()
    stopped = on_gpu(first, epochs=2, given=given)
    step, done = stopped._step, []

    def ask_to_stop(*args):
        step(*args)
        done.append(1)
        stop.requested = len(done) == 7  # in the second epoch

    stopped._step = ask_to_stop
    with pytest.raises(Interrupted):
        stopped.run(stop)
    second = Rows()
    resumed = on_gpu(second, epochs=2, given=given)
    resumed.restore(*first.stored)
    resumed.run(Stop())
    assert first.rows + second.rows == whole.rows
    for name, weight in straight.net.params.items():
        assert np.array_equal(weight, resumed.net.params[name])


def test_once_a_second_it_looks(gpu, monkeypatch):
    seconds = iter(np.arange(0, 1000, 0.4))
    monkeypatch.setattr(loop.time, "monotonic", lambda: float(next(seconds)))
    listener = Rows()
    on_gpu(listener, epochs=2, batch_size=3).run(Stop())
    assert 5 < listener.steps < 22  # more than at the ends of two epochs, fewer than the steps


@pytest.mark.parametrize("skip", [0, 2])
@pytest.mark.parametrize("memory", [1 << 40, 0], ids=["resident", "uploaded"])
def test_mini_batches_are_those_of_the_cpu(gpu, monkeypatch, memory, skip):
    """Bit for bit, out of the device's memory and through pinned buffers."""
    monkeypatch.setattr(gpu, "free_memory", memory, raising=False)
    segments = trainer().task.segments

    def batches():
        rng = np.random.default_rng(1)
        return Batches(segments, np.arange(33), 8, feature="logmel", rng=rng, mean=0.5, std=2.0)

    expected = [(x.copy(), label) for x, label in batches()][skip:]
    found = []
    for x, label in feed.mini_batches(batches(), skip):
        found.append((np.array(x), np.array(label)))
    assert ("logmel" in resident._kept) == bool(memory)
    for (x, label), (y, other) in zip(found, expected, strict=True):
        assert x.tobytes() == y.tobytes() and np.array_equal(label, other)


def sounds(scaled=False):
    """Seven overlapping segments of a signal, with made-up spectrograms; with their own factors, or all as they are."""
    rng = np.random.default_rng(0)
    known = {
        "waveform": rng.standard_normal(5000).astype("f4"), "start": np.arange(7) * 600, "label": np.arange(7),
        "scale": (rng.uniform(1, 2, 7) if scaled else np.ones(7)).astype("f4"),
        "logmel": rng.standard_normal((7, 60, 3)).astype("f4"),
        "settings": SoundSettings(segment_length=1200, n_frames=3),
    }  # fmt: skip
    return Segments(**{field.name: known.get(field.name) for field in fields(Segments)})


@pytest.mark.parametrize("scaled", [False, True])
def test_waveforms_are_those_of_the_cpu(gpu, scaled):
    segments, before = sounds(scaled), len(gpu.launches)
    for indices in ([6, 0, 3, 3], [5, 1]):
        ((x, label),) = feed.mini_batches(Batches(segments, indices, 4, feature="waveform"))
        assert np.array(x).tobytes() == segments.waveforms(indices).tobytes()
        assert np.array_equal(label, indices)
    assert [kernel for _, kernel, _ in gpu.launches[before:]] == ["gather_segments"] * 2
    assert list(resident._kept) == ["waveform"]


@pytest.mark.parametrize("memory", [1 << 40, 0], ids=["resident", "uploaded"])
def test_spectrogram_forcing_gets_the_same_pairs(gpu, monkeypatch, memory):
    monkeypatch.setattr(gpu, "free_memory", memory, raising=False)
    segments, train = sounds(), np.arange(7)
    task = Forcing(segments, train, train, Normalisation(0.5, 2.0), batch_size=3, seed=(1, 2))
    found = [(np.array(x), np.array(target)) for x, target in task.batches(1, 1)]
    monkeypatch.setattr(backend, "_current", "cpu")
    expected = [(x.copy(), target.copy()) for x, target in task.batches(1, 1)]
    assert [len(x) for x, _ in found] == [3, 1]
    for pair, other in zip(found, expected, strict=True):
        assert all(a.tobytes() == b.tobytes() and a.shape == b.shape for a, b in zip(pair, other))


def test_another_data_set_takes_the_firsts_place(gpu):
    for segments in (sounds(), sounds()):
        for mean in (0.0, 1.0):
            batches = Batches(segments, [4, 2], 2, feature="logmel", mean=mean, std=2.0)
            ((x, _),) = feed.mini_batches(batches)
            assert np.array(x).tobytes() == segments.logmels([4, 2], mean=mean, std=2.0).tobytes()
        list(feed.mini_batches(Batches(segments, [4, 2], 2)))
        assert set(resident._kept) == {"logmel", "waveform"}
        assert all(one.segments is segments for _, one in resident._kept.values())
