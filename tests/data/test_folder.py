"""A plain folder: what in it is a sound, and folds that keep parts of one recording together, the classes even."""

import os
from collections import Counter
from pathlib import PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scratchnet.data import open_source
from scratchnet.data.folder import freesound_id, make_folds, recordings, without_part
from scratchnet.data.source import in_order, sounds_below
from scratchnet.errors import InputError


@pytest.mark.parametrize(
    "stem, number",
    [
        ("1-100032-A-0", "100032"),
        ("1-100032-A", "100032"),
        ("100032-3-0-0", "100032"),
        ("344-3-0-12", "344"),
        ("rain_01", None),
        ("12", None),
        ("2024-05-17-01", None),
        ("2024-5-17-1", None),
        ("06-30-00-01", None),
        ("17-5-2024-1", None),
        ("1-2-3-1", None),
    ],
)
def test_freesound_numbers(stem, number):
    assert freesound_id(stem) == number


@pytest.mark.parametrize(
    "stem, recording",
    [
        ("name_001", "name"), ("name-002", "name"), ("rec12 (3)", "rec12"), ("rec12(3)", "rec12"), ("rec12", "rec12"),
        ("rain part 2", "rain"), ("rain_seg3", "rain"), ("rain-take_07", "rain"), ("rain.4", "rain"),
        ("2024-05-17_3", "2024-05-17"), ("007", "007"), ("a", "a"),
    ],
)  # fmt: skip
def test_a_parts_number_is_taken_off(stem, recording):
    assert without_part(stem) == recording


def test_a_plain_count_does_not_make_one_recording():
    named = {"cats": [f"cats/cat_{i:03d}.wav" for i in range(20)]}
    assert len(set(recordings(named).values())) == 20
    parts = {"cats": [f"cats/rec{i // 4}_{i % 4}.wav" for i in range(24)]}
    assert len(set(recordings(parts).values())) == 6


def test_a_folder_below_a_class_tells_its_recordings_apart():
    """part_3 of one session is not part_3 of another, and both lie beside part_4 of the same one."""
    for name in ("part{:02d}", "Seg {}"):
        paths = [f"robin/session{s}/{name.format(k)}.wav" for s in range(8) for k in range(6)]
        assert recordings({"robin": paths}) == {path: path.rpartition("/")[0] for path in paths}
    two = [f"robin/{year}/part_{k:03d}.wav" for year in (2023, 2024) for k in range(20)]  # too few: they just count
    assert len(set(recordings({"robin": two}).values())) == 40
    versions = [f"robin/{how}/rec{r}_{k}.wav" for how in ("clean", "noisy") for r in range(6) for k in range(3)]
    assert len(set(recordings({"robin": versions}).values())) == 6


def test_numbers_alone_make_no_recording_of_their_folder():
    """It would be one of two hundred files beside four of one."""
    named = [*(f"dog/{k}.wav" for k in "abcd"), *(f"dog/more/{k}.wav" for k in range(200))]
    assert len(set(recordings({"dog": named}).values())) == 204


def test_files_named_by_date_are_recordings_of_their_own():
    names = {bird: [f"{bird}/2024-05-{day}-{k:02d}.wav" for day in range(10, 20) for k in (1, 2)] for bird in "ab"}
    assert len(set(recordings(names).values())) == 20  # each day of each


def test_one_recording_in_two_classes_is_one():
    result = recordings({"bark": ["bark/1-777-A-0.wav"], "growl": ["growl/777-3-0-0.wav"]})
    assert len(set(result.values())) == 1


@given(st.integers(0, 10**6), st.integers(5, 40), st.integers(1, 4), st.integers(2, 5))
def test_folds_keep_recordings_whole_and_classes_even(seed, count, parts, folds):
    import random

    draw = random.Random(seed)
    sizes = [draw.randint(1, parts) for _ in range(count)]
    clips = [(f"{c}/{seed}-{i}-{p}", c, f"{c}/{i}") for c in (0, 1) for i in range(count) for p in range(sizes[i])]
    fold = make_folds(clips, folds)
    assert fold == make_folds(list(reversed(clips)), folds)  # the order of the files does not matter
    assert set(fold.values()) == set(range(1, folds + 1))
    for label in (0, 1):
        per_fold = Counter(fold[recording] for _, c, recording in clips if c == label)
        # dealing the largest to the emptiest leaves a difference of one recording at most
        assert max(per_fold.values()) - min(per_fold[f] for f in range(1, folds + 1)) <= parts


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    for name in ("a.wav", "deep/b.FLAC", ".c.wav", ".trash/d.wav", "deep/.old/e.wav", "notes.txt"):
        (tmp_path / ".hidden" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / ".hidden" / name).write_bytes(b"")
    found = sounds_below(tmp_path / ".hidden")  # asked for by name, it may be hidden itself
    assert [path.relative_to(tmp_path / ".hidden").as_posix() for path in found] == ["a.wav", "deep/b.FLAC"]


def test_links_to_folders_are_followed_and_none_twice(tmp_path, write_wav):
    for name in ("root/dogs/a.wav", "root/dogs/deep/b.wav", "root/cats/c.wav", "elsewhere/d.wav", "pool/e.wav"):
        write_wav(tmp_path / name)
    dogs = tmp_path / "root" / "dogs"
    for link, target in {"more": tmp_path / "elsewhere", "again": dogs / "deep", "up": "..", "deep/self": ".."}.items():
        (dogs / link).symlink_to(target, target_is_directory=True)
    (dogs.parent / "birds").symlink_to(tmp_path / "pool", target_is_directory=True)
    found = {path.relative_to(tmp_path / "root").as_posix() for path in sounds_below(dogs)}
    assert found == {"dogs/a.wav", "dogs/deep/b.wav", "dogs/more/d.wav"}
    source = open_source(tmp_path / "root")
    assert {clip.path for clip in source.clips} == found | {"birds/e.wav", "cats/c.wav"} and not source.unusable


def test_a_link_that_leads_nowhere_takes_no_other_file_with_it(folder):
    before = open_source(folder)
    (folder / "dogs" / "loop.wav").symlink_to("loop.wav")
    (folder / "cats" / "a_link.wav").symlink_to(f"{before.clips[0].path.rpartition('/')[2]}/x.wav")
    source = open_source(folder)
    assert {clip.path for clip in source.clips} == {clip.path for clip in before.clips}
    assert {name for name, _ in source.unusable} == {"dogs/loop.wav", "cats/a_link.wav"}


def test_what_only_has_the_name_of_a_sound_is_none(folder):
    (folder / "dogs" / "x.wav").mkdir()
    os.mkfifo(folder / "dogs" / "pipe.wav")
    source = open_source(folder)
    assert len(source.clips) == 24 and not source.unusable


def test_a_run_among_the_recordings_is_no_class(folder, write_wav):
    before = open_source(folder)
    for run in (folder / "one", folder / "runs" / "deep" / "two"):
        (run / "checkpoint").mkdir(parents=True)
        (run / "config.json").touch()
    assert open_source(folder) == before
    (folder / "settings").mkdir()
    (folder / "settings" / "config.json").touch()  # of something else
    with pytest.raises(InputError, match="has no sound file in settings, and each sub-folder is a class: add"):
        open_source(folder)
    write_wav(folder / "settings" / "a.wav")
    write_wav(folder / "one" / "a.wav")
    assert open_source(folder).classes == ("cats", "dogs", "one", "settings")


def test_sounds_that_libsndfile_does_not_read_are_named_and_take_no_part_in_the_folds(folder):
    before = open_source(folder)
    for name in ("cats/deep/x.M4A", "dogs/y.webm", "dogs/cover.jpg", "dogs/notes.txt"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"")
    source = open_source(folder)
    assert source.clips == before.clips
    assert source.unusable == tuple(
        (
            name,
            f"{name} cannot be read as sound (no format that libsndfile reads): convert it, say to FLAC, or remove it",
        )
        for name in ("cats/deep/x.M4A", "dogs/y.webm")
    )
    (folder / "frogs").mkdir()
    (folder / "frogs" / "z.wma").touch()
    with pytest.raises(InputError, match=r"frogs is a class without .* libsndfile reads: convert z.wma, or remove"):
        open_source(folder)


def test_the_order_is_the_same_on_every_system():
    names = ["Dog/b.wav", "Zebra/a.wav", "ant/x y.wav", "ant/x/z.wav", "cat"]
    for kind in (PurePosixPath, PureWindowsPath):
        assert [path.as_posix() for path in sorted(map(kind, names[::-1]), key=in_order)] == [
            "Dog/b.wav", "Zebra/a.wav", "ant/x/z.wav", "ant/x y.wav", "cat"
        ]  # fmt: skip
