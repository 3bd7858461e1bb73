"""The data of a reproduction: its own recordings, enough folds, none of its folders a class."""

import shutil

import numpy as np
import soundfile

from experiments import reproduce
from experiments.studies import STUDIES, jobs
from scratchnet.training import dataset
from scratchnet.training.runfolder import RunFolder
from scratchnet.training.screen import Screen

TINY = ["--scale", "tiny", "--backend", "cpu", "--quiet"]


def test_models_of_other_recordings_do_not_stand_side_by_side(tones, tmp_path, capsys):
    sounds = shutil.copytree(tones, tmp_path / tones.name)
    given = [*TINY, "--data", str(sounds), "--no-noise", "--out", str(tmp_path / "out")]
    assert reproduce.main([*given, "--only", "melnet", "--plan"]) == 0
    assert reproduce.main([*given, "--only", "longer"]) == 0
    for path in sounds.rglob("*.ogg"):
        x, rate = soundfile.read(path)
        soundfile.write(path, x[::-1], rate, format="OGG", subtype="VORBIS")
    capsys.readouterr()
    for more in (["--only", "melnet"], ["--only", "longer", "--plan"]):
        assert reproduce.main([*given, *more]) == 2
        said = capsys.readouterr().err
        assert "was trained on other recordings; name another folder" in said and len(said.splitlines()) == 1


def test_a_study_that_drops_short_clips_stands_beside_one_that_pads_them(small, write_folds, tmp_path, monkeypatch):
    sounds = write_folds(tmp_path / "tones")
    soundfile.write(next(sounds.iterdir()) / "1-100-B.ogg", np.sin(np.arange(8000.0)), 22050, subtype="VORBIS")
    changes = {"data": str(sounds), "backend": "cpu"}
    plan = list(jobs({name: STUDIES[name] for name in ("systems", "piczak2015")}, "paper", 1, changes))
    digests = set()
    for one in plan[:1] + plan[-1:]:
        segments = dataset.prepare_data(one.config, dataset.open_data(one.config, Screen(True)), Screen(True))
        folder = RunFolder.create(tmp_path / "out" / "runs" / one.name, one.config)
        folder.describe(one.config, contents=segments.digest, layout=segments.layout)
        digests.add(segments.digest)
    assert len(digests) == 2
    monkeypatch.setattr(reproduce, "say_plan", lambda *arguments: {})
    given = ["--data", str(sounds), "--scale", "paper", "--backend", "cpu", "--out", str(tmp_path / "out"), "--plan"]
    assert reproduce.main([*given, "--only", "systems", "--only", "piczak2015"]) == 0


def test_two_folds_are_too_few_for_any_run(small, write_folds, tmp_path, capsys):
    sounds = write_folds(tmp_path / "two", folds=2)
    assert reproduce.main([*TINY, "--data", str(sounds), "--only", "longer", "--out", str(tmp_path / "out")]) == 2
    assert "training, validation and test need three" in capsys.readouterr().err


def test_a_reproduction_stopped_before_its_first_run_makes_no_class(tones, tmp_path, monkeypatch):
    sounds = shutil.copytree(tones, tmp_path / "sounds")
    for folder in sounds.iterdir():
        folder.rename(sounds / folder.name.partition("- ")[2])
    monkeypatch.chdir(sounds)

    def stopped(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(reproduce, "say_plan", stopped)
    given = [*TINY, "--data", ".", "--only", "longer"]
    for _ in range(2):
        assert reproduce.main(given) == 130
    assert (sounds / "runs").is_dir()
