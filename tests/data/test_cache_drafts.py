"""Drafts of prepared data that killed processes left."""

import os
import time

from scratchnet.cache_folder import STALE, remove_stale


def draft(cache, name, folder_age, file_age):
    place = cache / name
    place.mkdir()
    (place / "waveform.f32").write_bytes(b"0")
    for path, age in ((place / "waveform.f32", file_age), (place, folder_age)):
        os.utime(path, (time.time() - age * STALE,) * 2)
    return place


def test_old_drafts_of_any_data_go_and_nothing_else_does(tmp_path):
    digest = "0123456789abcdef0123"
    old = draft(tmp_path, f".esc10-{digest}-abcd1234", 2, 2)
    mine = draft(tmp_path, ".synthetic-v1-abcd1234", 2, 2)
    written = draft(tmp_path, f".folder-{digest}-abcd1234", 2, 0.1)  # a large data set, which takes days
    new = draft(tmp_path, f".folder-{digest}-wxyz1234", 0.1, 0.1)
    other = draft(tmp_path, ".config-of-something", 2, 2)
    whole = draft(tmp_path, f"folder-{digest}", 2, 2)
    remove_stale(tmp_path / "synthetic-v1")
    assert sorted(tmp_path.iterdir()) == sorted([written, new, other, whole])
    assert not old.exists() and not mine.exists()
