"""Drafts of prepared data: gone when their process ends, however it does; made by one while others wait."""

import errno
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from scratchnet import interrupt, lock
from scratchnet.data import cut, open_source, prepare
from scratchnet.data import synthetic as sounds
from scratchnet.drafts import HERE, STALE, draft_of
from scratchnet.lock import abandoned, alone
from scratchnet.sound import load_clip

DIGEST = "0123456789abcdef0123"
locks = pytest.mark.skipif(sys.platform == "win32", reason="the system has no such locks")


def left(cache, name, age=0.0, host=HERE):
    """A draft, last written in so many seconds ago."""
    place = cache / f".{name}-abcd1234.{host}.draft"
    (place / "audio").mkdir(parents=True)
    (place / "audio" / "x.wav").write_bytes(b"0")
    for path in (place / "audio" / "x.wav", place / "audio", place):
        os.utime(path, (time.time() - age,) * 2)
    return place


@locks
def test_drafts_that_nobody_makes_go_and_nothing_else_does(tmp_path):
    others, mine = left(tmp_path, f"esc10-{DIGEST}"), left(tmp_path, "synthetic-v1")
    at_work = left(tmp_path, f"folder-{DIGEST}", 2 * STALE)
    elsewhere = left(tmp_path, f"esc50-{DIGEST}", 0.5 * STALE, "another_machine")
    forgotten = left(tmp_path, f"esc50-{DIGEST[::-1]}", 2 * STALE, "another_machine")
    os.utime(elsewhere, (1, 1))  # what is in it is newer
    (tmp_path / f".esc10-{DIGEST}.lock").touch()  # of the process that was killed
    own = [tmp_path / name for name in (".synthetic-v1-settings", ".thesis.draft", ".my-thesis.draft")]  # the user's
    for folder in own:
        folder.mkdir()
        os.utime(folder, (1, 1))
    with alone(tmp_path / f".folder-{DIGEST}.lock", pytest.fail), draft_of(tmp_path / "synthetic-v1") as draft:
        assert draft.is_dir() and abandoned(tmp_path / ".synthetic-v1.lock") is False
    assert sorted(tmp_path.iterdir()) == sorted([at_work, elsewhere, *own])
    assert not any(path.exists() for path in (others, mine, forgotten, draft))


def test_where_the_system_has_no_locks_old_drafts_go(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "fcntl", None)
    old, young = left(tmp_path, f"esc10-{DIGEST}", 2 * STALE), left(tmp_path, f"esc50-{DIGEST}", 0.9 * STALE)
    mine = left(tmp_path, "synthetic-v1")  # of another process, perhaps at work
    with draft_of(tmp_path / "synthetic-v1"):
        pass
    assert not old.exists() and young.exists() and mine.exists()


@locks
@pytest.mark.parametrize("readable", [True, False])
def test_a_lock_that_is_another_users(tmp_path, monkeypatch, readable):
    open_file = os.open

    def refused(path, flags, *rest, **options):
        if str(path).endswith(".lock") and not (readable and flags == os.O_RDONLY):
            raise PermissionError
        return open_file(path, flags, *rest, **options)

    (tmp_path / ".data.lock").touch()
    mine = left(tmp_path, "data")
    monkeypatch.setattr(lock.os, "open", refused)
    with draft_of(tmp_path / "data") as draft:
        assert mine.exists() is not readable
        if readable:  # and so are those who make other data
            assert abandoned(tmp_path / ".data.lock") is False
        else:
            assert abandoned(tmp_path / ".data.lock") is None
        assert draft.is_dir()
    with pytest.raises(PermissionError), draft_of(tmp_path / "other"):
        pass


@locks
def test_a_file_system_without_locks_keeps_no_file_of_them(tmp_path, monkeypatch):
    def none(handle, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock.fcntl, "flock", none)
    with draft_of(tmp_path / "data") as draft:
        assert sorted(tmp_path.iterdir()) == [draft]
    assert not any(tmp_path.iterdir())


@locks
def test_what_goes_wrong_while_waiting_is_said_is_no_missing_lock(tmp_path):
    def broken():
        raise BrokenPipeError

    with alone(tmp_path / "x.lock", pytest.fail), pytest.raises(BrokenPipeError), alone(tmp_path / "x.lock", broken):
        pytest.fail("two at a time")


@pytest.mark.parametrize("number", interrupt.endings())
def test_a_draft_goes_when_the_process_is_told_to_end(tmp_path, number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), draft_of(tmp_path / "data"):
        assert any(tmp_path.iterdir())
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert not any(tmp_path.iterdir()) and signal.getsignal(number) == before


@pytest.mark.parametrize("handler", [signal.SIG_IGN, lambda number, frame: None], ids=["nohup", "a program's own"])
def test_what_is_ignored_or_taken_care_of_stays_so(tmp_path, handler):
    number = interrupt.endings()[0]
    before = signal.signal(number, handler)
    try:
        assert number not in interrupt.endings()
        with draft_of(tmp_path / "data"):
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)


@locks
def test_a_killed_process_leaves_a_draft_that_the_next_one_clears(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from scratchnet.drafts import draft_of
with draft_of(Path({str(tmp_path)!r}) / "data") as draft:
    (draft / "waveform.f32").write_bytes(b"0")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], timeout=60)
    (draft,) = tmp_path.glob("*.draft")
    with draft_of(tmp_path / "data"):
        assert not draft.exists()
    assert not any(tmp_path.iterdir())


@locks
def test_one_prepares_and_the_others_wait_for_it(tmp_path, write_wav, monkeypatch, capsys):
    for label, name in enumerate(("bee", "cat", "dog")):
        for number in range(3):
            write_wav(tmp_path / "animals" / name / f"{name}{number}.wav", label, 1.0, 10 * label + number)
    source, reads = open_source(tmp_path / "animals"), []

    def slowly(path, *rest, **options):
        reads.append(path.name)
        time.sleep(0.05)
        return load_clip(path, *rest, **options)

    monkeypatch.setattr(cut, "load_clip", slowly)
    made = _side_by_side(lambda: prepare(source, cache_dir=tmp_path / "cache", workers=1))
    assert len(reads) == 9 and len({segments.folder for segments in made}) == 1
    assert sorted((tmp_path / "cache").iterdir()) == [made[0].folder]
    assert "another process makes " in capsys.readouterr().err


@locks
def test_one_makes_the_synthetic_sounds_and_the_others_wait_for_it(tmp_path, monkeypatch):
    made, write = [], sounds._write
    monkeypatch.setattr(sounds, "_write", lambda *given: (made.append(given), time.sleep(0.2), write(*given)))
    _side_by_side(lambda: sounds.make(tmp_path / "city", clips_per_class=1))
    assert len(made) == 1


@locks
def test_where_the_first_one_gives_up_the_next_one_makes_it(tmp_path):
    """And no two at a time, though each takes the lock's file away when it ends."""
    at_work, most, done = [], [], []

    def make():
        with draft_of(tmp_path / "data") as draft:
            at_work.append(draft)
            most.append(len(at_work))
            time.sleep(0.02)
            at_work.remove(draft)
            done.append(draft)

    _side_by_side(make, 8)
    assert len(done) == 8 and max(most) == 1 and not any(tmp_path.iterdir())


def _side_by_side(work, count=3):
    results = []
    threads = [threading.Thread(target=lambda: results.append(work())) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == count
    return results
