"""The cache: what it holds, when it is made again, what happens to bad files and broken caches."""

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
from hashlib import file_digest
from pathlib import Path

import numpy as np
import pytest

from scratchnet.data import cut, fingerprint, open_cache, open_source, prepare
from scratchnet.errors import InputError
from scratchnet.sound import SoundSettings, delta, load_clip, segment_clip, segment_log_mel
from scratchnet.sound.io import cannot_be_read
from tests.support import rounding

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def decoded(monkeypatch):
    """The names of the files that were decoded, in a list that grows."""
    names = []

    def counting(path, *rest, **options):
        names.append(Path(path).name)
        return load_clip(path, *rest, **options)

    monkeypatch.setattr(cut, "load_clip", counting)
    monkeypatch.setattr(fingerprint, "load_clip", counting)
    return names


def test_segments_hold_every_clip_once(shared_set, segments):
    source = open_source(shared_set)
    assert segments.clips == [clip.path for clip in source.clips] and segments.skipped == []
    assert (segments.classes, segments.codes) == (source.classes, source.codes)
    position, n = 0, 0
    for number, clip in enumerate(source.clips):
        x, starts, _, logmel = segment_clip(load_clip(shared_set / clip.path), SoundSettings())
        mine = np.flatnonzero(segments.clip == number)
        assert mine.tolist() == list(range(n, n + len(starts)))
        np.testing.assert_array_equal(segments.waveform[position : position + len(x)], x)
        np.testing.assert_array_equal(segments.start[mine], position + starts)
        np.testing.assert_array_equal(segments.logmel[mine], logmel)
        assert (segments.label[mine] == clip.label).all() and (segments.fold[mine] == clip.fold).all()
        assert (segments.clip_label[number], segments.clip_fold[number]) == (clip.label, clip.fold)
        position, n = position + len(x), n + len(starts)
    assert segments.waveform.shape == (position,) and len(segments) == n
    assert isinstance(segments.waveform, np.memmap) and isinstance(segments.logmel, np.memmap)


def test_waveforms_and_logmels(segments):
    indices = np.array([3, 0, len(segments) - 1, 3])
    x = segments.waveforms(indices)
    assert x.shape == (4, 1, 20992) and x.dtype == np.float32
    for row, i in zip(x, indices):
        np.testing.assert_array_equal(row[0], segments.waveform[segments.start[i] :][:20992])
    np.testing.assert_array_equal(segment_log_mel(x[:, 0], SoundSettings()), segments.logmel[indices])
    m = segments.logmels(indices.tolist())
    assert m.shape == (4, 1, 60, 41)
    np.testing.assert_array_equal(m[:, 0], segments.logmel[indices])
    out = np.full_like(m, np.nan)
    assert segments.logmels(indices, out=out, mean=-20.0, std=5.0) is out
    # Of float32: ours is a product with 1/5, rounded as the product is, the test's a quotient: 3 roundings.
    np.testing.assert_allclose(out, (m + 20) / 5, rtol=rounding("float32", 3))
    out = np.full_like(x, np.nan)
    assert segments.waveforms(indices, out=out) is out and np.array_equal(out, x)


def test_statistics(segments):
    chosen = np.arange(0, len(segments), 2)
    values = segments.logmel[chosen].astype(np.float64)
    found = segments.statistics(chosen)
    expected = {"mean": values.mean(), "std": values.std(), "min": values.min(), "max": values.max()}
    # Sums of some 90 000 values and of their squares, there and here, of sizes no more than twice what they come to.
    assert found == pytest.approx(expected, rel=rounding("float64", 4 * values.size))


@pytest.mark.parametrize("kind", ["savgol", "librosa031"])
def test_deltas_are_those_of_the_standardised_spectrogram(shared_set, tmp_path, kind):
    segments = prepare(open_source(shared_set), SoundSettings(deltas=kind), cache_dir=tmp_path)
    m = segments.logmels([1, 2], mean=-30.0, std=10.0)
    assert m.shape == (2, 2, 60, 41)
    # Of float32: ours is a product with 1/10, rounded as the product is, the test's a quotient: 3 roundings.
    np.testing.assert_allclose(m[:, 0], (segments.logmel[1:3] + 30) / 10, rtol=rounding("float32", 3))
    np.testing.assert_array_equal(m[:, 1], delta(m[:, 0], kind=kind))


def test_peak_of_every_segment(shared_set, tmp_path):
    segments = prepare(open_source(shared_set), SoundSettings(peak="segment"), cache_dir=tmp_path)
    x = segments.waveforms(np.arange(len(segments)))
    # 1/peak is rounded, and so is the product with it.
    np.testing.assert_allclose(np.abs(x).max(axis=(1, 2)), 1, rtol=rounding("float32", 2))
    np.testing.assert_array_equal(segment_log_mel(x[:, 0], segments.settings), segments.logmel)


def test_a_second_call_decodes_nothing(urbansound8k, tmp_path, decoded):
    calls = []
    first = prepare(open_source(urbansound8k), cache_dir=tmp_path / "c", progress=lambda *done: calls.append(done))
    assert len(decoded) == 18 and calls[-1] == (18, 18) and len(calls) == 18
    second = prepare(open_source(urbansound8k), cache_dir=tmp_path / "c")
    assert len(decoded) == 18 and second.fingerprint == first.fingerprint
    np.testing.assert_array_equal(first.logmel, second.logmel)
    assert len(list((tmp_path / "c").iterdir())) == 1  # no draft is left


def test_the_number_of_workers_changes_nothing(shared_set, tmp_path):
    a, b = (prepare(open_source(shared_set), cache_dir=tmp_path / str(w), workers=w) for w in (1, 4))
    for name in ("waveform", "logmel", "start", "label", "clip"):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name))


def test_every_change_makes_a_new_cache(urbansound8k, tmp_path, decoded, write_wav):
    def build(settings=None):
        decoded.clear()
        prepare(open_source(urbansound8k), settings, cache_dir=tmp_path / "c")
        return len(decoded)

    assert build() == 18 and build() == 0
    assert build(SoundSettings(top_db=None)) == 18 and build(SoundSettings(top_db=None)) == 0
    write_wav(urbansound8k / "audio" / "fold1" / "1000-0-0-0.wav", 0, 1.5)  # another length
    assert build() == 18
    os.utime(urbansound8k / "audio" / "fold1" / "1000-0-0-0.wav", (1, 1))  # another time
    assert build() == 18
    table = urbansound8k / "metadata" / "UrbanSound8K.csv"
    table.write_text(table.read_text().replace("dog_bark", "wolf_howl"))
    assert build() == 18 and build() == 0


def test_sets_that_look_alike_do_not_share_a_cache(urbansound8k, tmp_path, write_wav):
    """Equal names, sizes and times, as an archive made to be reproduced leaves them; nor are they one data set."""
    twin, copy = tmp_path / "twin", tmp_path / "copy"
    for root in (urbansound8k, shutil.copytree(urbansound8k, twin)):
        for label, path in enumerate(sorted(root.rglob("*.wav"))):
            write_wav(path, label, 2.0, seed=label + (root == twin))
            os.utime(path, (1, 1))
    shutil.copytree(twin, copy)
    one, two, three = (prepare(open_source(root), cache_dir=tmp_path / "c") for root in (urbansound8k, twin, copy))
    assert one.fingerprint == two.fingerprint and not np.array_equal(one.waveform, two.waveform)
    assert one.layout == two.layout and one.digest != two.digest == three.digest and len(set(one.contents)) == 18


def test_a_file_that_fails_after_it_was_heard_is_skipped(urbansound8k, tmp_path, monkeypatch):
    def fails(file, name):
        if file.name.endswith("1000-0-0-0.wav"):
            raise OSError(errno.EIO, "Input/output error")
        return file_digest(file, name)

    monkeypatch.setattr(cut, "file_digest", fails)
    ((name, reason),) = prepare(open_source(urbansound8k), cache_dir=tmp_path / "c").skipped
    assert name == "audio/fold1/1000-0-0-0.wav" and "0-0-0.wav cannot be read (Input/output error)" in reason


@pytest.mark.parametrize("error", [errno.EACCES, errno.EIO, errno.EMFILE])
def test_a_file_that_the_system_keeps_is_tried_again(urbansound8k, tmp_path, monkeypatch, decoded, error):
    """What is wrong with a file itself stays known; what was prepared without it stays for a run that began so."""
    path, bad = (urbansound8k / "audio" / "fold1" / f"1000-0-0-{i}.wav" for i in (0, 1))
    bad.write_text("no sound")
    opened = Path.open

    def shut(place, *rest, **how):
        if Path(place) == path:
            raise OSError(error, os.strerror(error), str(place))
        return opened(place, *rest, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", shut)
        without = prepare(open_source(urbansound8k), cache_dir=tmp_path / "c")
        ((name, reason), (other, _)) = without.skipped
        assert name == "audio/fold1/1000-0-0-0.wav" and f"{path} cannot be read ({os.strerror(error)})" in reason
        assert other == "audio/fold1/1000-0-0-1.wav" and len(decoded) == 18
        assert prepare(open_source(urbansound8k), cache_dir=tmp_path / "c").folder == without.folder
        assert len(decoded) == 18
    whole = prepare(open_source(urbansound8k), cache_dir=tmp_path / "c")
    assert [name for name, _ in whole.skipped] == [other] and len(decoded) == 36
    assert prepare(open_source(urbansound8k), cache_dir=tmp_path / "c").folder == whole.folder != without.folder
    assert len(decoded) == 36 and len(open_cache(without.folder).clips) == 16


def test_a_drive_that_drops_out_and_comes_back_leaves_nothing_out(urbansound8k, tmp_path, monkeypatch):
    source, away, load, count = open_source(urbansound8k), tmp_path / "away", cut.load_clip, 0

    def dropping(path, *rest, **how):
        nonlocal count
        count += 1
        if count == 10:
            urbansound8k.rename(away)
        return load(path, *rest, **how)

    with monkeypatch.context() as patch:
        patch.setattr(cut, "load_clip", dropping)
        half = prepare(source, cache_dir=tmp_path / "c", workers=1)
        assert len(half.clips) == 9 and all("does not exist" in reason for _, reason in half.skipped)
    away.rename(urbansound8k)
    segments = prepare(source, cache_dir=tmp_path / "c")
    assert not segments.skipped and len(segments.clips) == 18


def test_a_file_that_fails_while_it_is_decoded_is_tried_again_and_no_other(urbansound8k, tmp_path, monkeypatch):
    count = 0

    def failing(path, *rest, **how):
        nonlocal count
        count += 1
        if path.name == "1000-0-0-0.wav":
            raise cannot_be_read(path, OSError(errno.EIO, "Input/output error"))
        return load_clip(path, *rest, **how)

    with monkeypatch.context() as patch:
        for module in (cut, fingerprint):
            patch.setattr(module, "load_clip", failing)
        for decoded in (18, 19, 20):
            assert len(prepare(open_source(urbansound8k), cache_dir=tmp_path / "c").skipped) == 1
            assert count == decoded
    assert not prepare(open_source(urbansound8k), cache_dir=tmp_path / "c").skipped


def test_strict_stops_before_anything_is_decoded_at_what_is_known_to_be_of_no_use(folder, tmp_path, decoded):
    (folder / "dogs" / "x.m4a").touch()
    with pytest.raises(InputError, match=r"x.m4a cannot be read as sound .*\(unusable files in"):
        prepare(open_source(folder), strict=True, cache_dir=tmp_path / "c")
    assert not decoded and not (tmp_path / "c").exists()


@pytest.mark.parametrize("victim", ["waveform.f32", "logmel.f32", "index.npz", "meta.json"])
@pytest.mark.parametrize("damage", ["gone", "cut", "empty", "garbage"])
def test_a_damaged_cache_is_made_again(shared_set, tmp_path, victim, damage):
    folder = prepare(open_source(shared_set), cache_dir=tmp_path).folder
    path = folder / victim
    content = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        path.write_bytes({"cut": content[: len(content) // 2], "empty": b"", "garbage": os.urandom(997)}[damage])
    with pytest.raises(InputError, match="prepare"):
        open_cache(folder)
    again = prepare(open_source(shared_set), cache_dir=tmp_path)
    assert again.folder == folder and path.read_bytes()[:1] and len(again) == len(again.logmel)
    assert len(open_cache(folder)) == len(again)


def test_an_index_that_points_outside_is_damage(shared_set, tmp_path):
    folder = prepare(open_source(shared_set), cache_dir=tmp_path).folder
    with np.load(folder / "index.npz") as index:
        arrays = dict(index)
    for name, value in (("start", 10**9), ("start", -1), ("label", 3), ("clip", 99)):
        changed = {key: values.copy() for key, values in arrays.items()}
        changed[name][0] = value
        np.savez(folder / "index.npz", **changed)
        with pytest.raises(InputError, match=f"{name} points outside"):
            open_cache(folder)


def test_another_version_is_refused(shared_set, tmp_path):
    folder = prepare(open_source(shared_set), cache_dir=tmp_path).folder
    meta = json.loads((folder / "meta.json").read_text())
    (folder / "meta.json").write_text(json.dumps(meta | {"version": 0}))
    with pytest.raises(InputError, match="version 0"):
        open_cache(folder)


def spoil(root):
    """Six bad files of six kinds among eighteen; returns their paths."""
    import soundfile

    files = sorted(root.rglob("*.wav"))[::3]
    soundfile.write(files[0], np.zeros(9000), 22050)
    soundfile.write(files[1], np.zeros(0), 22050)
    soundfile.write(files[2], np.ones(1), 22050)
    soundfile.write(files[3], np.array([0.1, np.nan, 0.2]), 22050, subtype="FLOAT")
    files[4].write_bytes(b"RIFF, but no more")
    files[5].unlink()
    return files


def test_bad_files_are_named_and_skipped(urbansound8k, tmp_path):
    files = spoil(urbansound8k)
    segments = prepare(open_source(urbansound8k), cache_dir=tmp_path / "c")
    assert len(segments.clips) == 12 and len(segments.clip_label) == 12 and segments.clip.max() == 11
    reasons = {urbansound8k / path: reason for path, reason in segments.skipped}
    assert set(reasons) == set(files)
    words = ("silent", "no sample", "single sample", "NaN", "cannot be read", "not there")
    for path, word in zip(files, words):
        assert word in reasons[path] and str(path) in reasons[path]
    # the cache remembers them
    assert prepare(open_source(urbansound8k), cache_dir=tmp_path / "c").skipped == segments.skipped


@pytest.mark.parametrize("prepared", [False, True])
def test_strict_stops(urbansound8k, tmp_path, prepared):
    spoil(urbansound8k)
    if prepared:
        prepare(open_source(urbansound8k), cache_dir=tmp_path)
    with pytest.raises(InputError, match="wav"):
        prepare(open_source(urbansound8k), cache_dir=tmp_path, strict=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_nothing_usable(urbansound8k, tmp_path):
    source = open_source(urbansound8k)
    dogs = [path for path in urbansound8k.rglob("*-3-0-*.wav")]
    for path in dogs:
        path.write_bytes(b"")
    with pytest.raises(InputError, match="class 'dog_bark'"):
        prepare(source, cache_dir=tmp_path / "c")
    for path in urbansound8k.rglob("*.wav"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="no sound file"):
        prepare(source, cache_dir=tmp_path / "c")
    assert list((tmp_path / "c").iterdir()) == []


def test_short_clips_can_be_dropped(urbansound8k, tmp_path, write_wav):
    write_wav(urbansound8k / "audio" / "fold1" / "1000-0-0-0.wav", 0, 0.5)
    segments = prepare(open_source(urbansound8k), SoundSettings(short="drop"), cache_dir=tmp_path / "c")
    ((path, reason),) = segments.skipped
    assert path.endswith("1000-0-0-0.wav") and "shorter" in reason
    assert len(prepare(open_source(urbansound8k), cache_dir=tmp_path / "c").clips) == 18


def test_a_cache_folder_that_cannot_be_written(shared_set, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="SCRATCHNET_CACHE"):
        prepare(open_source(shared_set), cache_dir=tmp_path / "file" / "below")


def test_the_default_place_follows_the_environment(shared_set, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCHNET_CACHE", str(tmp_path / "here"))
    assert prepare(open_source(shared_set)).folder.parent == tmp_path / "here"


def test_an_interrupt_leaves_nothing_half_done(shared_set, tmp_path):
    def stop(done, total):
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(open_source(shared_set), cache_dir=tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_several_at_once(shared_set, tmp_path):
    results, source = [], open_source(shared_set)
    threads = [
        threading.Thread(target=lambda: results.append(prepare(source, cache_dir=tmp_path, workers=1)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 3 and len({segments.folder for segments in results}) == 1
    assert len(list(tmp_path.iterdir())) == 1
    np.testing.assert_array_equal(results[0].logmel, results[2].logmel)


def test_a_cache_is_enough(shared_set, segments):
    """A machine that has neither soundfile nor soxr opens a carried cache, and finds the one of its own data."""
    code = f"""
import sys
sys.modules["soundfile"] = sys.modules["soxr"] = None  # importing them now raises
from scratchnet.data import Batches, open_cache, open_source, prepare, split
segments = open_cache({str(segments.folder)!r})
assert len(segments) == {len(segments)}
train, valid, test = split(segments, 1)
x, y = next(iter(Batches(segments, train, 4)))
assert x.shape == (4, 1, 20992)
assert len(prepare(open_source({str(shared_set)!r}), cache_dir={str(segments.folder.parent)!r})) == len(segments)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
