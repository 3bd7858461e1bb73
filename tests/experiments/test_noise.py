"""Noise at the ratio asked for, the same for every network; whole runs in noise."""

import csv
import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import ttest_1samp

from experiments import noise, noise_mix, noise_report, table
from scratchnet import train
from scratchnet.sound import SoundSettings


@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(1000, 5000),
    snr=st.floats(-10, 40),
    level=st.floats(1e-3, 1.0),
    kind=st.sampled_from(noise_mix.NOISES),
)
def test_the_mixture_has_the_ratio(seed, n, snr, level, kind):
    rng = np.random.default_rng(seed)
    signal = (level * np.sin(np.arange(n) * rng.uniform(0.01, 1))).astype(np.float32)
    other = rng.standard_normal(700).astype(np.float32)
    clips = {"a": (signal, 0), "b": (other, 1)}
    mixed = noise_mix.mix(signal, noise_mix.noise_for(kind, "a", clips, seed), snr)
    assert (mixed.dtype, mixed.shape) == (np.float32, signal.shape)
    added = mixed.astype(np.float64) - signal
    rms = np.sqrt(np.mean(added**2))
    measured = 20 * np.log10(np.sqrt(np.mean(signal.astype(np.float64) ** 2)) / rms)
    # The sum is rounded to float32: each sample of what was added is off by at most u max|mixed|.
    off = 2.0**-24 * np.abs(mixed).max() / rms
    assert abs(measured - snr) <= -20 * np.log10(1 - off) + 1e-9


def test_noise_is_a_function_of_kind_clip_and_seed():
    rng = np.random.default_rng(0)
    clips = {name: (rng.standard_normal(3000).astype(np.float32), label) for label, name in enumerate("abcd")}
    for kind in noise_mix.NOISES:
        first = noise_mix.noise_for(kind, "a", clips, 0)
        assert np.array_equal(first, noise_mix.noise_for(kind, "a", dict(reversed(clips.items())), 0))
        assert not np.array_equal(first, noise_mix.noise_for(kind, "b", clips, 0))
        assert not np.array_equal(first, noise_mix.noise_for(kind, "a", clips, 1))


def test_white_noise_is_flat_and_pink_noise_has_equal_octaves():
    clips = {"a": (np.ones(1 << 17, np.float32), 0)}
    power = {kind: np.abs(np.fft.rfft(noise_mix.noise_for(kind, "a", clips, 0))) ** 2 for kind in ("white", "pink")}
    # Octaves of 2^13 and of 2^14 bins: each sum is of a chi-square of twice as many degrees, so that their ratio has a
    # relative deviation of sqrt(1/2^13 + 1/2^14) = 1.4 %; five of these.
    ratio = {kind: p[1 << 14 : 1 << 15].sum() / p[1 << 13 : 1 << 14].sum() for kind, p in power.items()}
    assert ratio["white"] == pytest.approx(2, rel=0.07)
    assert ratio["pink"] == pytest.approx(1, rel=0.07)


def test_the_background_is_a_clip_of_another_class():
    clips = {f"{label}{i}": (np.full(100 + i, 1.0 + label, np.float32), label) for label in range(3) for i in range(4)}
    heard = {
        float(noise_mix.noise_for("background", name, clips, seed)[0]) for name in ("00", "03") for seed in range(20)
    }
    assert heard == {2.0, 3.0}
    with pytest.raises(ValueError, match="another class"):
        noise_mix.noise_for("background", "00", {"00": clips["00"], "01": clips["01"]}, 0)


def test_a_short_background_is_repeated_and_silence_in_it_avoided():
    assert noise_mix.looped(np.array([1, 2, 3]), 7, 1).tolist() == [2, 3, 1, 2, 3, 1, 2]
    long = np.zeros(100_000, np.float32)
    long[70_000] = 0.5
    clips = {"a": (np.ones(50, np.float32), 0), "b": (long, 1)}
    assert all(noise_mix.noise_for("background", "a", clips, seed).any() for seed in range(20))
    with pytest.raises(ValueError, match="silent"):
        noise_mix.mix(np.ones(3, np.float32), np.zeros(3), 0)


@pytest.fixture(scope="module")
def runs(tones, tmp_path_factory):
    """PiczakNet, and HeuriNet from random weights: a network of spectrograms, and one of waveforms."""
    root = tmp_path_factory.mktemp("runs")
    given = ["--init", "random", "--epochs", "2", "--batch-size", "2", "--lr", "0.001", "--lr-final", "none"]
    given += ["--backend", "cpu", "--quiet", "--data", str(tones)]
    for net in ("piczaknet", "heurinet"):
        assert train.main([*given, "--net", net, "--out", str(root / net)]) == 0
    return root


def test_runs_are_tested_in_noise_once(runs, tones, tmp_path, capsys, monkeypatch):
    arguments = [str(runs), "--out", str(tmp_path), "--backend", "cpu"]
    assert noise.main(arguments) == 0
    names = {"noise.csv", "noise_paired.csv", "noise.md", "noise.png"}
    assert {path.name for path in tmp_path.iterdir()} == names
    with open(tmp_path / "noise.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * (1 + 3 * 4)
    for net, title in (("piczaknet", "PiczakNet"), ("heurinet", "HeuriNet, random init")):
        (clean,) = [row for row in rows if row["system"] == title and row["noise"] == "none"]
        test = json.loads((runs / net / "result.json").read_text())["test"]
        for score in noise_report.SCORES:
            assert float(clean[score]) == pytest.approx(test[score])
    said = capsys.readouterr().out

    def again(*arguments):
        raise AssertionError("measured again")

    with monkeypatch.context() as patch:
        patch.setattr(noise, "measure", again)
        assert noise.main(arguments) == 0
        assert capsys.readouterr().out.strip() == said[said.index("|") :].strip()
        with pytest.raises(AssertionError):
            noise.main([*arguments, "--seed", "1"])
        with pytest.raises(AssertionError):  # what other data gave, however it got there, is not these runs'
            kept = runs / "piczaknet" / "noise.json"
            kept.write_text(json.dumps({**json.loads(kept.read_text()), "data": "other"}))
            noise.main(arguments)


def in_noise(system, fold, accuracy, seed=0):
    """A model that is right as often in every noise."""
    rows = [
        {"noise": "none", "snr": None},
        *({"noise": n, "snr": snr} for n in noise_mix.NOISES for snr in noise_mix.SNRS),
    ]
    return noise_report.Heard(system, fold, seed, [row | dict.fromkeys(noise_report.SCORES, accuracy) for row in rows])


def test_systems_are_tested_against_the_first_fold_by_fold():
    first, second = np.array([[0.5, 0.6, 0.8], [0.7, 0.6, 0.6]]), np.array([0.4, 0.5, 0.9, 0.1])
    models = [in_noise("A", fold, first[seed, fold], seed) for seed in range(2) for fold in range(3)]
    models += [in_noise("B", fold, second[fold]) for fold in range(4)]  # on a fold more than A, and of one seed
    tests = noise_report.against_first(models)
    assert len(tests) == (1 + 3 * 4) * len(noise_report.SCORES)
    differences = second[:3] - first[0]
    for row in tests:
        assert (row["system"], row["against"], row["folds"]) == ("B", "A", 3)
        assert row["difference"] == pytest.approx(differences.mean())
        assert row["difference_sd"] == pytest.approx(np.std(differences, ddof=1))
        assert row["p_t"] == pytest.approx(ttest_1samp(differences, 0).pvalue)
    text = noise_report.against_markdown(tests)
    assert "minus A, points (p, paired t)" in text
    p = ttest_1samp(differences, 0).pvalue
    assert f"| B | white | {' | '.join([f'-3.3 ({p:.3f})'] * 5)} |" in text
    assert noise_report.against_first(models[:6]) == [] and "minus" not in noise_report.report(models[:6])
    (alone, *_) = noise_report.against_first([models[0], models[6]])
    assert (alone["p_t"], alone["difference_sd"]) == (None, None)
    assert "| B | pink | -10.0 | -10.0 |" in noise_report.report([models[0], models[6]])


def test_systems_that_heard_other_clips_are_not_compared():
    models = [in_noise("A", 1, 0.5), in_noise("A", 2, 0.5), in_noise("B", 1, 0.25)._replace(clips="fewer")]
    models += [in_noise("B", 2, 0.25), in_noise("C", 1, 0.25)._replace(clips="fewer")]
    assert {(row["system"], row["folds"]) for row in noise_report.against_first(models)} == {("B", 1)}
    assert noise_report.report(models).endswith("Tested on other clips than A, so not compared with it: B, C.")


def test_a_clip_has_the_same_noise_whatever_else_a_model_drops(monkeypatch):
    rng, heard = np.random.default_rng(0), []
    clips = {name: (rng.standard_normal(n), label) for name, n, label in
             [("a", 30000, 0), *((f"short{i}", 5000, 1) for i in range(9)), ("long", 30000, 1)]}  # fmt: skip

    def listen(model, chosen, disturb):
        heard.append({name: disturb(name, x) for name, (x, _) in chosen.items()})
        return {}

    monkeypatch.setattr(noise, "figures", listen)
    for short in ("drop", "pad"):
        noise.measure(SimpleNamespace(settings=SoundSettings(short=short)), clips, 3)
    dropped, padded = heard[: len(heard) // 2], heard[len(heard) // 2 :]
    for few, all_of_them in zip(dropped, padded, strict=True):
        assert set(few) == {"a", "long"} and set(all_of_them) == set(clips)
        assert all(np.array_equal(few[name], all_of_them[name]) for name in few)


def test_other_data_is_refused(runs, write_folds, tmp_path, capsys):
    other = write_folds(tmp_path / "other")
    (other / "001 - high").rename(other / "001 - higher")
    assert noise.main([str(runs), "--data", str(other), "--seed", "7", "--backend", "cpu"]) == 2
    assert "not the data" in capsys.readouterr().err


def test_other_clips_of_the_same_classes_are_refused(runs, tones, write_folds, tmp_path, capsys):
    more = write_folds(tmp_path / "more", clips=2)
    assert noise.main([str(runs), "--data", str(more), "--seed", "7", "--backend", "cpu"]) == 2
    assert "not the data" in capsys.readouterr().err


def test_other_recordings_of_the_same_names_are_refused_though_figures_are_kept(runs, tones, tmp_path, capsys):
    assert noise.main([str(runs / "piczaknet"), "--backend", "cpu"]) == 0
    other = shutil.copytree(tones, tmp_path / tones.name)
    for path in other.rglob("*.ogg"):
        x, rate = soundfile.read(path)
        soundfile.write(path, x[::-1], rate, format="OGG", subtype="VORBIS")
    assert noise.main([str(runs / "piczaknet"), "--data", str(other), "--backend", "cpu"]) == 2
    assert "not the data that it was trained on" in capsys.readouterr().err


def test_runs_of_two_data_sets_are_refused_before_the_first_test(
    runs, tones, write_folds, tmp_path, capsys, monkeypatch
):
    other = write_folds(tmp_path / "other", clips=2)
    given = ["--net", "piczaknet", "--epochs", "1", "--batch-size", "4", "--backend", "cpu", "--quiet"]
    assert train.main([*given, "--data", str(other), "--out", str(tmp_path / "run")]) == 0
    monkeypatch.setattr(noise, "measure", lambda *arguments: pytest.fail("tested"))
    assert noise.main([str(runs), str(tmp_path / "run"), "--seed", "9", "--backend", "cpu"]) == 2
    assert "runs of one data set at a time" in capsys.readouterr().err


def test_two_runs_of_one_fold_and_runs_that_learned_from_other_folds_are_refused(runs, tmp_path, capsys):
    shutil.copytree(runs / "piczaknet", tmp_path / "one")
    other = shutil.copytree(runs / "piczaknet", tmp_path / "two")
    assert noise.main([str(tmp_path), "--backend", "cpu"]) == 2
    assert "more than one run of seed 0 on fold" in capsys.readouterr().err
    for name in ("config.json", "result.json"):
        table = json.loads((other / name).read_text())
        table["valid_fold"] = next(fold for fold in (1, 2, 3) if fold not in (table["test_fold"], table["valid_fold"]))
        (other / name).write_text(json.dumps(table | {"seed": 1}))
    assert noise.main([str(tmp_path), "--backend", "cpu"]) == 2
    assert "validated on other folds, so trained on others too" in capsys.readouterr().err


def test_clips_of_one_class_have_no_background_and_the_other_noises_stand(tmp_path):
    class Deaf:
        classes, settings = ("a", "b"), SoundSettings()

        def inputs(self, x):
            return np.zeros((1, 1)), np.zeros(1)

        def classify(self, inputs):
            return np.tile([0.75, 0.25], (len(inputs), 1))

    clips = {name: (np.ones(100, np.float32), 0) for name in ("x", "y")}
    rows = noise.measure(Deaf(), clips, 0)
    assert [row[noise_report.SCORES[1]] for row in rows] == [1.0] * 9 + [None] * 4
    models = [
        noise_report.Heard("A", 1, 0, rows),
        in_noise("A", 2, 0.5),
        noise_report.Heard("B", 1, 0, rows),
        in_noise("B", 2, 0.25),
    ]
    text = noise_report.report(models)
    assert (
        "| A | background | 75.0 ± 35.4 | 50.0 (1 of 2) |" in text
        and "| A | white | 75.0 ± 35.4 | 75.0 ± 35.4 |" in text
    )
    (only,) = (
        r
        for r in noise_report.against_first(models)
        if (r["noise"], r["snr"]) == ("background", 5) and r["score"] == noise_report.SCORES[1]
    )
    assert (only["folds"], only["difference"]) == (1, -0.25)
    noise_report.write(tmp_path, models, 2)
    assert (tmp_path / "noise_paired.csv").exists()
    alone = [noise_report.Heard("A", 1, 0, rows)]
    assert "| A | background | 100.0 |  |  |  |  |" in noise_report.report(alone)
    noise_report.write(tmp_path, alone, 2)
    assert not (tmp_path / "noise_paired.csv").exists()  # of other systems


def test_an_out_that_is_a_file_is_named_before_anything_is_tested(runs, tmp_path, capsys):
    (tmp_path / "file").touch()
    for main in (noise.main, table.main):
        assert main([str(runs), "--out", str(tmp_path / "file")]) == 2
        said = capsys.readouterr()
        assert said.out == "" and "--out" in said.err and "name another" in said.err


def test_other_data_of_the_same_classes_are_refused(runs, tmp_path, capsys):
    shutil.copytree(runs, tmp_path / "runs")
    config = tmp_path / "runs" / "heurinet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "data_name": "esc50"}))
    assert noise.main([str(tmp_path / "runs"), "--seed", "7", "--backend", "cpu"]) == 2
    assert "heurinet: " in (error := capsys.readouterr().err) and "not the data" in error


@pytest.mark.parametrize("seed", ["-1", "x"])
def test_a_seed_that_is_none_is_named_before_anything_is_opened(seed, capsys):
    assert noise.main(["absent", f"--seed={seed}"]) == 2
    assert "--seed" in capsys.readouterr().err


def test_the_picture_has_as_many_lines_as_can_be_told_apart(tmp_path, monkeypatch):
    rows = [
        {
            "system": f"system {i}",
            "noise": kind,
            "snr": snr,
            noise_report.SCORES[1]: 0.5,
            f"{noise_report.SCORES[1]}_sd": None,
        }
        for i in range(9)
        for kind, snr in [("none", None), *((kind, snr) for kind in noise_report.PANELS for snr in noise_mix.SNRS)]
    ]
    drawn = []
    monkeypatch.setattr(noise_report.plots, "save_figure", lambda figure, path: drawn.append(figure))
    noise_report.draw(tmp_path / "noise.png", rows, 10)
    (legend,) = drawn[0].legends
    assert [text.get_text() for text in legend.get_texts()] == [f"system {i}" for i in range(8)]
    lines = [line.lines[0] for line in drawn[0].axes[0].containers]
    looks = {(line.get_color(), line.get_marker(), line.get_linestyle()) for line in lines}
    assert len(looks) == len({line.get_marker() for line in lines}) == 8
    assert drawn[0].get_suptitle() == "the first 8 of 9 systems"
