"""Drafts of prepared data: gone when their process ends, however it does, and waited for by others."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from scratchnet import cache_folder, interrupt
from scratchnet.cache_folder import NEW, STALE, draft_of, wait_for_others
from scratchnet.lock import held, is_held

DIGEST = "0123456789abcdef0123"
locks = pytest.mark.skipif(sys.platform == "win32", reason="the system has no locks on folders")


def draft(cache, name, seconds):
    place = cache / name
    place.mkdir()
    (place / "waveform.f32").write_bytes(b"0")
    for path in (place / "waveform.f32", place):
        os.utime(path, (time.time() - seconds,) * 2)
    return place


@locks
def test_drafts_that_nobody_holds_go_and_nothing_else_does(tmp_path):
    left = draft(tmp_path, f".esc10-{DIGEST}-abcd1234", 2 * NEW)
    mine = draft(tmp_path, ".synthetic-v1-abcd1234", 2 * NEW)
    at_work = draft(tmp_path, f".folder-{DIGEST}-abcd1234", 2 * STALE)  # a large data set, which takes days
    new = draft(tmp_path, f".folder-{DIGEST}-wxyz1234", 0.1 * NEW)  # which its process is about to hold
    other = draft(tmp_path, ".config-of-something", 2 * STALE)
    whole = draft(tmp_path, f"folder-{DIGEST}", 2 * STALE)
    with held(at_work), draft_of(tmp_path / "synthetic-v1") as own:
        assert own.is_dir() and is_held(own)
    assert sorted(tmp_path.iterdir()) == sorted([at_work, new, other, whole])
    assert not any(path.exists() for path in (left, mine, own))


def test_where_the_system_has_no_locks_old_drafts_go(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_folder, "is_held", lambda folder: None)
    old, young = (
        draft(tmp_path, f".esc10-{DIGEST}-{name}1234", age * STALE) for name, age in (("abcd", 2), ("w", 0.9))
    )
    written = draft(tmp_path, f".esc10-{DIGEST}-xyzx1234", 2 * STALE)
    os.utime(written / "waveform.f32")
    with draft_of(tmp_path / "synthetic-v1"):
        pass
    assert not old.exists() and young.exists() and written.exists()


@pytest.mark.parametrize("number", interrupt.endings())
def test_a_draft_goes_when_the_process_is_told_to_end(tmp_path, number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), draft_of(tmp_path / "data"):
        assert any(tmp_path.iterdir())
        os.kill(os.getpid(), number)
        time.sleep(10)
    assert not any(tmp_path.iterdir()) and signal.getsignal(number) == before


def test_what_is_ignored_stays_so(tmp_path, monkeypatch):
    """Under nohup, a terminal that is closed."""
    number = interrupt.endings()[0]
    before = signal.signal(number, signal.SIG_IGN)
    try:
        assert number not in interrupt.endings()
        with draft_of(tmp_path / "data"):
            os.kill(os.getpid(), number)
    finally:
        signal.signal(number, before)


@locks
def test_a_killed_process_leaves_a_draft_that_the_next_one_clears(tmp_path, monkeypatch):
    code = f"""
import os, signal
from pathlib import Path
from scratchnet.cache_folder import draft_of
with draft_of(Path({str(tmp_path)!r}) / "data") as draft:
    (draft / "waveform.f32").write_bytes(b"0")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    subprocess.run([sys.executable, "-c", code], timeout=60)
    (left,) = tmp_path.iterdir()
    monkeypatch.setattr(cache_folder, "NEW", -1.0)
    with draft_of(tmp_path / "data"):
        assert not left.exists()


@locks
def test_others_are_waited_for(tmp_path, capsys):
    target, begun = tmp_path / "data", threading.Event()

    def make():
        with draft_of(target) as draft:
            begun.set()
            time.sleep(0.5)
            draft.rename(target)

    maker = threading.Thread(target=make)
    maker.start()
    assert begun.wait(10)
    wait_for_others(target)
    assert target.is_dir()
    maker.join()
    assert f"another process makes {target} already" in capsys.readouterr().err
    draft(tmp_path, ".data-left", 0)  # of a killed process: nobody holds it
    wait_for_others(target)
    assert capsys.readouterr().err == ""
