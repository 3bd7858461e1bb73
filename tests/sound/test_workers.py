"""Work in threads that nobody waits for any more ends at its next look."""

import threading
import time

import numpy as np
import pytest

from scratchnet.sound import load, log_melspectrogram, workers
from scratchnet.sound.stretch import time_stretch
from scratchnet.sound.workers import Unwanted, go_on, ordered_map


def test_results_come_in_order():
    assert list(ordered_map(lambda k: (time.sleep(0.01 * (k % 3)), k)[1], range(20), 3)) == list(range(20))


@pytest.mark.parametrize("work", ["load", "stretch", "mel"])
def test_long_work_asks_whether_it_is_wanted(tmp_path, monkeypatch, work):
    stopped = threading.Event()
    stopped.set()
    monkeypatch.setattr(workers._here, "stopped", stopped, raising=False)
    x = np.zeros(30000, np.float32)
    soundfile = pytest.importorskip("soundfile", reason="needs soundfile")
    soundfile.write(tmp_path / "x.wav", x, 22050)
    with pytest.raises(Unwanted):
        {"load": lambda: load(tmp_path / "x.wav"), "stretch": lambda: time_stretch(x, 1.1),
         "mel": lambda: log_melspectrogram(x, workers=1)}[work]()  # fmt: skip


def test_going_on_outside_of_any_thread_is_nothing():
    go_on()


@pytest.mark.parametrize("end", ["closed", "an exception of another item"])
def test_what_has_begun_ends_when_it_is_not_wanted(end):
    begun, ended = threading.Event(), []

    def work(item):
        if item == 0:
            assert begun.wait(10)
            if end != "closed":
                raise ArithmeticError
            return item
        begun.set()
        try:
            for _ in range(10_000):  # a hundred seconds
                go_on()
                time.sleep(0.01)
        except Unwanted:
            ended.append(item)
            raise
        return item

    results = ordered_map(work, [0, 1], 2)
    if end == "closed":
        assert next(results) == 0
        results.close()
    else:
        with pytest.raises(ArithmeticError):
            next(results)
    assert ended == [1]
    assert list(ordered_map(lambda item: (go_on(), item)[1], [2, 3], 2)) == [2, 3]  # other threads, other wishes
