"""Folders that look like a collection of sounds and are none: what to name instead."""

import pytest

from scratchnet.data import open_source
from scratchnet.data.mistaken import further_down
from scratchnet.errors import InputError


@pytest.mark.parametrize(
    "files, words",
    [
        (["audio/fold1/1-2-0-0.wav", "audio/fold2/3-2-0-0.wav"], "without metadata/UrbanSound8K.csv: put it there"),
        (["audio/1-100-A-0.wav", "meta/notes.txt"], "looks like ESC-50 without meta/esc50.csv: put it there"),
        (["fold1/a.wav", "fold 2/b.wav"], "has folds, and no classes"),
        (
            ["Test/cats/a.wav", "Test/dogs/a.wav", "train/cats/b.wav", "train/dogs/b.wav", "valid/cats/c.wav"],
            "parts of a data set and no classes: train with --data {root}/train, then scratchnet evaluate RUN --data "
            "{root}/Test",
        ),
        (
            ["test_data/cats/a.wav", "Train set/cats/b.wav"],
            "train with --data '{root}/Train set', then scratchnet evaluate",
        ),
        (["cats/a.wav", "dogs/a.wav", "empty/x.txt", "more/y.txt"], "has no sound file in empty, more, and each sub-"),
    ],
)
def test_what_it_is_is_said(write_wav, tmp_path, files, words):
    for file in files:
        if file.endswith(".txt"):
            (tmp_path / file).parent.mkdir(exist_ok=True)
            (tmp_path / file).touch()
        else:
            write_wav(tmp_path / file)
    with pytest.raises(InputError) as caught:
        open_source(tmp_path)
    assert words.format(root=tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    "files",
    [
        ["test/a.wav", "train/b.wav"],  # whistles of trains, and test tones: nothing below
        ["test/x/a.wav", "cats/x/b.wav"],
        ["audio/deep/a.wav", "video/b.wav"],
        ["audio/a.wav", "notes/b.wav"],
        ["audio/fold1/a.wav", "noise/b.wav"],
        ["audio/a.wav", "meta/b.wav", "video/c.wav"],
    ],
)
def test_what_may_be_classes_are_classes(write_wav, tmp_path, files):
    for file in files:
        write_wav(tmp_path / file)
    assert open_source(tmp_path).classes == tuple(sorted({file.split("/")[0] for file in files}))


def test_a_sound_beside_the_classes_is_named(write_wav, tmp_path):
    for file in ("cats/a.wav", "dogs/a.wav", "loose.wav", ".hidden.wav"):
        write_wav(tmp_path / file)
    (tmp_path / "notes.txt").touch()
    source = open_source(tmp_path)
    assert source.beside == ("loose.wav",) and not source.unusable and len(source.clips) == 2


@pytest.mark.parametrize(
    "inner, words",
    [(["a", "b"], "if a, b are the classes, name {root}/all"), (["deep/a", "deep/b"], "name {root}/all/deep")],
)
def test_one_class_may_have_the_classes_in_it(write_wav, tmp_path, inner, words):
    for name in inner:
        write_wav(tmp_path / "all" / name / "x.wav")
    source = open_source(tmp_path)
    assert source.classes == ("all",) and words.format(root=tmp_path) in further_down(source)
    write_wav(tmp_path / "plain" / "one" / "x.wav")
    assert further_down(open_source(tmp_path / "plain")) == ""
