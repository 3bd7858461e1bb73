"""Every data source is recognised by its layout, and every bad folder gives one clear line."""

import errno
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from scratchnet.data import open_source
from scratchnet.data.source import codes
from scratchnet.errors import InputError

BESIDE = Path(__file__).resolve().parents[2].parent / "shared" / "data"


def test_urbansound8k(urbansound8k):
    source = open_source(urbansound8k)
    assert source.name == "urbansound8k" and source.folds == (1, 2, 3) and len(source.clips) == 18
    assert source.classes == ("air_conditioner", "car_horn", "dog_bark") and source.codes == ("AI", "CA", "DO")
    clip = next(c for c in source.clips if c.path.endswith("2003-3-0-1.wav"))
    assert (clip.label, clip.fold, clip.group, clip.path) == (2, 2, "2003", "audio/fold2/2003-3-0-1.wav")
    assert source.unusable == ()


def test_urbansound8k_is_found_where_its_archive_was_unpacked(urbansound8k):
    assert open_source(urbansound8k.parent).root == urbansound8k


def test_esc10(esc10):
    source = open_source(str(esc10))
    assert source.name == "esc10" and source.classes == ("Dog bark", "Rain", "Sea waves")
    assert source.codes == ("DO", "RA", "SE") and source.folds == (1, 2, 3) and len(source.clips) == 18
    clip = next(c for c in source.clips if "2-302-B" in c.path)
    assert (clip.path, clip.label, clip.fold, clip.group) == ("003 - Sea waves/2-302-B.wav", 2, 2, "302")
    assert open_source(esc10, subset="esc10") == source


def test_a_wrongly_named_file_of_esc10_is_reported(esc10, write_wav):
    write_wav(esc10 / "001 - Dog bark" / "my dog.wav")
    source = open_source(esc10)
    assert source.name == "esc10" and len(source.clips) == 18
    ((path, reason),) = source.unusable
    assert path == "001 - Dog bark/my dog.wav" and "rename" in reason


def test_real_esc10():
    if not (BESIDE / "ESC-10").is_dir():
        pytest.skip("ESC-10 is not in ../shared/data")
    source = open_source(BESIDE / "ESC-10")
    assert len(source.clips) == 400 and source.folds == (1, 2, 3, 4, 5) and source.unusable == ()
    assert Counter(c.label for c in source.clips) == dict.fromkeys(range(10), 40)
    folds_of = {}
    for clip in source.clips:
        folds_of.setdefault(clip.group, set()).add(clip.fold)
    assert all(len(folds) == 1 for folds in folds_of.values())


def test_real_metadata_of_urbansound8k(tmp_path):
    """The counts of the data set's own table, over empty files of the right names."""
    metadata = BESIDE / "UrbanSound8K" / "metadata" / "UrbanSound8K.csv"
    if not metadata.is_file():
        pytest.skip("UrbanSound8K's metadata is not in ../shared/data")
    with pytest.raises(InputError, match="none of the 8732 sound files"):
        open_source(BESIDE / "UrbanSound8K")
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "UrbanSound8K.csv").write_bytes(metadata.read_bytes())
    lines = metadata.read_text().splitlines()[1:]
    for fold in range(1, 11):
        (tmp_path / "audio" / f"fold{fold}").mkdir(parents=True)
    for line in lines:
        name, _, _, _, _, fold, _, _ = line.split(",")
        (tmp_path / "audio" / f"fold{fold}" / name).touch()
    source = open_source(tmp_path)
    assert [Counter(c.fold for c in source.clips)[f] for f in range(1, 11)] == [
        873, 888, 925, 990, 936, 823, 838, 806, 816, 837]  # fmt: skip
    assert source.codes == ("AI", "CA", "CH", "DO", "DR", "EN", "GU", "JA", "SI", "ST")
    assert Counter(source.classes[c.label] for c in source.clips)["gun_shot"] == 374
    assert len({c.group for c in source.clips}) == 1297


def test_esc50_and_its_subset(esc50):
    source = open_source(esc50)
    assert source.name == "esc50" and source.classes == ("dog", "rain", "chirping_birds")
    assert source.folds == (1, 2, 3) and len(source.clips) == 9
    assert next(c for c in source.clips if c.path == "audio/2-1402-A-14.wav").group == "1402"
    subset = open_source(esc50, subset="esc10")
    assert subset.name == "esc10" and subset.classes == ("dog", "rain") and len(subset.clips) == 6
    assert {c.label for c in subset.clips} == {0, 1}


def test_folder(folder):
    (folder / "dogs" / "notes.txt").write_text("no sound")
    (folder / ".hidden").mkdir()
    source = open_source(folder)
    assert source.name == "folder" and source.classes == ("cats", "dogs") and len(source.clips) == 24
    assert source.folds == (1, 2, 3, 4, 5)


def test_synthetic_reads_as_urbansound8k(shared_set, monkeypatch):
    from scratchnet.data import synthetic

    monkeypatch.setattr(synthetic, "make", lambda root, **_: Path(root))
    monkeypatch.setattr(synthetic, "default_root", lambda: shared_set)
    source = open_source()
    assert source.name == "synthetic" and source.codes == ("AI", "CA", "DO")


@pytest.mark.parametrize("layout", ["urbansound8k", "esc50"])
def test_absent_files_are_listed(layout, request):
    root = request.getfixturevalue(layout)
    gone = sorted(root.rglob("*.wav"))[:2]
    for path in gone:
        path.unlink()
    unusable = open_source(root).unusable
    assert [path for path, _ in unusable] == [path.relative_to(root).as_posix() for path in gone]
    assert all("not there" in reason for _, reason in unusable)


def line(root, **options):
    with pytest.raises(InputError) as caught:
        open_source(root, **options)
    message = str(caught.value)
    assert "\n" not in message and ": " in message
    return message


def test_bad_folders(tmp_path, write_wav):
    assert "does not exist" in line(tmp_path / "none")
    (tmp_path / "file").touch()
    assert "is a file" in line(tmp_path / "file")
    (tmp_path / "empty").mkdir()
    assert "is empty" in line(tmp_path / "empty")
    write_wav(tmp_path / "flat" / "a.wav")
    assert "no sub-folder" in line(tmp_path / "flat")
    write_wav(tmp_path / "one" / "cats" / "a.wav")
    assert open_source(tmp_path / "one").classes == ("cats",)  # enough to test on, not to train on
    (tmp_path / "one" / "dogs").mkdir()
    assert "dogs" in line(tmp_path / "one")


def test_a_class_without_files(esc10, urbansound8k):
    (esc10 / "004 - Silence").mkdir()
    assert "004 - Silence" in line(esc10)
    for path in urbansound8k.rglob("*-3-0-*.wav"):
        path.unlink()
    assert "dog_bark" in line(urbansound8k)


def test_bad_tables(urbansound8k, esc50):
    table = urbansound8k / "metadata" / "UrbanSound8K.csv"
    good = table.read_text()
    for bad, word in (
        (good.replace("fsID", "id"), "fsID"),
        (good.splitlines()[0], "no row"),
        (good.replace(",1,0,air", ",one,0,air"), "one"),
        (good + "1-2-3", "lacks"),
        (good.replace("0,air_conditioner", "0,fan", 1), "class 0"),
    ):
        table.write_text(bad)
        assert word in line(urbansound8k)
    table.write_bytes(b"\xff\xfe\x00\x80" * 10)
    assert "cannot be read" in line(urbansound8k)
    (esc50 / "meta" / "esc50.csv").write_text((esc50 / "meta" / "esc50.csv").read_text().replace("True", "False"))
    assert "ESC-10" in line(esc50, subset="esc10")


def test_a_class_or_a_clip_is_there_once(urbansound8k, esc50, esc10):
    """Else two classes share a name in every result, or a clip is trained on and tested."""
    again = esc10 / "004 - Rain"
    again.mkdir()
    (again / "1-9-A.wav").write_bytes((esc10 / "002 - Rain" / "1-201-A.wav").read_bytes())
    assert "class 'Rain' twice" in line(esc10)
    for root, name, number in ((urbansound8k, "UrbanSound8K", "0"), (esc50, "esc50", "10")):
        file = next(root.rglob(f"{name}.csv"))
        text = file.read_text()
        header, first, *rest = text.splitlines()
        swapped = [row.replace("car_horn", "dog_bark").replace("rain", "chirping_birds") for row in rest]
        file.write_text("\n".join([header, first, *swapped]))
        assert "twice" in line(root)
        one = next(row for row in rest if any(f",{number},{word}" in row for word in ("air_conditioner", "rain")))
        other = one.replace("air_conditioner", "fan").replace("rain", "hail")
        file.write_text(text.replace(one, other))
        assert f"class {number} is called" in line(root)
        column = header.split(",").index("fold")
        row = first.split(",")
        file.write_text(text + ",".join([*row[:column], "2", *row[column + 1 :]]))
        if root == esc50:
            assert "sound file 'audio/1-1-A-0.wav' twice" in line(root)
        file.write_text(text.replace(first, first.replace(row[0], "a\0b.wav")))
        ((path, reason),) = open_source(root).unusable
        assert "a\0b.wav" in path and "not there" in reason
        file.write_text(text.replace(first, ",".join([*row[:column], "9" * 20, *row[column + 1 :]])))
        assert "'99999999999999999999' in column 'fold'" in line(root)


def test_numbered_classes_may_have_sub_folders(tmp_path, write_wav):
    """They look like ESC-10's until one sees that no file there is named so."""
    for name in ("001-low", "002-high"):
        for take in "ab":
            write_wav(tmp_path / name / "session" / f"{take}.wav")
    source = open_source(tmp_path)
    assert (source.name, source.classes, len(source.clips)) == ("folder", ("001-low", "002-high"), 4)


@pytest.mark.parametrize("shut", ["dogs/deeper", "fold2"])
def test_a_folder_that_may_not_be_read_is_named(urbansound8k, folder, write_wav, monkeypatch, shut):
    """Its files would be missing without a word, and the folds others."""
    root = folder if "dogs" in shut else urbansound8k
    write_wav(folder / "dogs" / "deeper" / "a.wav")
    scandir = os.scandir

    def shy(place):
        if str(place).endswith(shut):
            raise PermissionError(errno.EACCES, "Permission denied", str(place))
        return scandir(place)

    monkeypatch.setattr(os, "scandir", shy)
    message = line(root)
    assert f"{shut} cannot be read (Permission denied)" in message and "permissions" in message


@pytest.mark.parametrize("how", ["beside", "below"])
def test_a_class_that_may_not_be_read_is_named_where_other_layouts_are_looked_for(
    tmp_path, write_wav, monkeypatch, how
):
    for name in ("a", "b", "001 - c" if how == "below" else "c"):
        write_wav(tmp_path / name / "x.wav")
    shut = str(tmp_path / ("001 - c" if how == "below" else "c"))
    for of, name in ((Path, "is_file"), (Path, "iterdir"), (os, "scandir")):
        before = getattr(of, name)

        def shy(place, before=before):
            if str(place).startswith(shut):
                raise PermissionError(errno.EACCES, "Permission denied", str(place))
            return before(place)

        monkeypatch.setattr(of, name, shy)
    assert line(tmp_path) == f"{shut} cannot be read (Permission denied): see to its permissions"


def test_what_lies_outside_of_esc10s_folders_or_bears_no_fold_is_named(esc10, write_wav):
    before = open_source(esc10)
    first = sorted(path.name for path in esc10.iterdir() if path.is_dir())[0]
    names = ("my cat/a.wav", f"{first}/more/1-5-A.wav", f"{first}/99999999999999999999-5-A.wav")
    for name in names:
        write_wav(esc10 / name)
    (esc10 / first / "x.m4a").touch()
    source = open_source(esc10)
    reasons = dict(source.unusable)
    assert source.clips == before.clips and set(reasons) == {*names, f"{first}/x.m4a"}
    assert "does not lie right in a folder called NNN" in reasons[names[0]] and "move it" in reasons[names[1]]
    assert "fold is unknown" in reasons[names[2]] and "convert it" in reasons[f"{first}/x.m4a"]


def test_urbansound8k_with_its_table_beside_the_folds(urbansound8k):
    """As some copies have it; and its audio/ alone is no data set, whose folds would be taken for classes."""
    whole = open_source(urbansound8k)
    words = line(urbansound8k / "audio")
    assert "has folds, and no classes" in words and f"name {urbansound8k};" in words
    for path in (urbansound8k / "audio").iterdir():
        path.rename(urbansound8k / path.name)
    (urbansound8k / "audio").rmdir()
    table = urbansound8k / "metadata" / "UrbanSound8K.csv"
    table.rename(urbansound8k / table.name)
    table.parent.rmdir()
    flat = open_source(urbansound8k)
    assert flat.name == "urbansound8k" and flat.classes == whole.classes
    assert [replace(clip, path=f"audio/{clip.path}") for clip in flat.clips] == list(whole.clips)
    (urbansound8k / table.name).unlink()
    assert "name the folder that has UrbanSound8K.csv, too" in line(urbansound8k)


def test_bad_subsets(urbansound8k, esc50):
    assert "unknown" in line(esc50, subset="esc100")
    assert "no subset" in line(urbansound8k, subset="esc10")


def test_codes_are_two_characters_and_differ():
    names = ["siren", "Sirens", "siren2", "a", "A", "aa", "a b", "!!", "", *[f"class{i}" for i in range(40)]]
    result = codes(names)
    assert len(set(result)) == len(names) and all(len(code) == 2 for code in result) and result[0] == "SI"
