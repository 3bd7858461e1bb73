"""What ends a preparation early, and what does not."""

from collections import namedtuple

import pytest

from scratchnet.data import cut, open_source, prepare
from scratchnet.errors import InputError
from scratchnet.sound import load_clip, segment_clip


@pytest.fixture
def three(tmp_path, write_wav):
    """Three classes of three clips."""
    for label, name in enumerate(("bee", "cat", "dog")):
        for number in range(3):
            write_wav(tmp_path / "animals" / name / f"{name}{number}.wav", label, 1.0, 10 * label + number)
    return tmp_path / "animals"


@pytest.fixture
def read(monkeypatch):
    """The names of the files that are read, in a list that grows."""
    names = []

    def counting(path, *rest, **options):
        names.append(path.name)
        return load_clip(path, *rest, **options)

    monkeypatch.setattr(cut, "load_clip", counting)
    return names


def spoil(folder):
    for path in folder.iterdir():
        path.write_bytes(b"no sound")


def test_a_class_that_cannot_be_used_is_told_of(three, tmp_path):
    spoil(three / "cat")
    with pytest.raises(InputError, match=r"no sound file of class 'cat' can be used; the first: .*cat\d\.wav cannot"):
        prepare(open_source(three), cache_dir=tmp_path / "cache")
    assert not any((tmp_path / "cache").iterdir())


def test_one_clip_of_a_class_is_enough_for_it(three, tmp_path):
    (three / "cat" / "cat0.wav").write_bytes(b"no sound")
    (three / "cat" / "cat1.wav").write_bytes(b"no sound")
    segments = prepare(open_source(three), cache_dir=tmp_path / "cache")
    assert sorted(segments.clip_label) == [0, 0, 0, 1, 2, 2, 2]


def test_where_nothing_can_be_used_no_class_is_blamed(three, tmp_path):
    for name in ("bee", "cat", "dog"):
        spoil(three / name)
    with pytest.raises(InputError, match=r"no sound file of .*animals can be used, of 9; the first: .*bee\d\.wav"):
        prepare(open_source(three), cache_dir=tmp_path / "cache")


Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize("free, fits", [(0.4, False), (0.6, True)])
def test_a_disk_that_is_too_small_is_told_of_early(three, tmp_path, read, monkeypatch, free, fits):
    """Nine clips of the same size: after the first, eight are left, and half of what they take must be free."""
    one = 4 * 22050 + 4 * 60 * 41
    monkeypatch.setattr(cut.shutil, "disk_usage", lambda folder: Usage(10 * one, one, int(free * 8 * one)))
    monkeypatch.setattr(cut, "STEP", 0.1)
    if fits:
        assert len(prepare(open_source(three), cache_dir=tmp_path / "cache", workers=1).clips) == 9
        return
    with pytest.raises(InputError, match=r"cache has no room for the prepared data, about 0\.0 GB: name another"):
        prepare(open_source(three), cache_dir=tmp_path / "cache", workers=1)
    assert len(read) < 6  # the second clip is the first one to be judged by; a few more were on their way
    assert not any((tmp_path / "cache").iterdir())


def test_compact_files_at_the_beginning_do_not_make_a_disk_too_small(three, tmp_path, monkeypatch):
    """All other files are a hundred times as large for the same sound: by clips there is room."""
    source, sizes = open_source(three), {}
    for number, clip in enumerate(source.clips):
        sizes[clip.path] = 1 if number < 2 else 100
    room, one = cut._Room(tmp_path, sizes), 1000
    monkeypatch.setattr(cut.shutil, "disk_usage", lambda folder: Usage(100 * one, one, 5 * one))
    for number, clip in enumerate(source.clips):
        room.check(clip, number * one)


def test_a_disk_that_counts_nothing_is_taken_to_have_room(three, tmp_path, monkeypatch):
    monkeypatch.setattr(cut.shutil, "disk_usage", lambda folder: Usage(0, 0, 0))
    assert len(prepare(open_source(three), cache_dir=tmp_path / "cache").clips) == 9


@pytest.mark.parametrize("where", ["load_clip", "segment_clip"])
def test_a_recording_that_the_memory_does_not_hold_is_named_and_skipped(three, tmp_path, monkeypatch, where):
    calls = []
    whole = {"load_clip": load_clip, "segment_clip": segment_clip}[where]

    def too_much(*given, **options):
        calls.append(given)
        if len(calls) == 2:
            raise MemoryError
        return whole(*given, **options)

    monkeypatch.setattr(cut, where, too_much)
    segments = prepare(open_source(three), cache_dir=tmp_path / "cache", workers=1)
    ((path, reason),) = segments.skipped
    assert len(segments.clips) == 8
    assert reason == f"{three / path} is too long for the memory there is: cut it into several files"
