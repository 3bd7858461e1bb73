"""The paired tests against values worked out by hand."""

import math

import numpy as np
import pytest
from scipy.stats import t as student

from experiments import ensemble, paired, table
from scratchnet.errors import InputError
from scratchnet.training import metrics
from scratchnet.training.files import write_table
from scratchnet.training.resolve import resolve
from scratchnet.training.runfolder import USES, RunFolder


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (3, 3, 1.0),
        (0, 5, 2 / 2**5),
        (1, 9, 2 * (1 + 10) / 2**10),
        (9, 1, 2 * (1 + 10) / 2**10),
        (2, 6, 2 * (1 + 8 + 28) / 2**8),
    ],
)
def test_mcnemar_counts_the_throws_of_a_fair_coin(only_a, only_b, p):
    assert paired.mcnemar(only_a, only_b) == pytest.approx(p, rel=1e-12)


def test_paired_t_is_students_distribution_of_four_degrees_in_closed_form():
    a, b = np.array([0.6, 0.7, 0.8, 0.9, 1.0]), np.array([0.5, 0.5, 0.5, 0.5, 0.5])
    t = 0.3 / (math.sqrt(0.025) / math.sqrt(5))  # mean 0.3, variance 0.1 / 4
    h = 1 + t * t / 4
    cumulated = 0.5 + 0.375 * t / math.sqrt(h) * (1 - t * t / (12 * h))  # Abramowitz & Stegun 26.7.4, n = 4
    assert paired.paired_t(a, b) == pytest.approx(2 * (1 - cumulated), rel=1e-9)


def test_the_corrected_t_allows_for_training_sets_that_overlap():
    """Of five folds one tests and three train: the mean's variance is (1/5 + 1/3) s², 8/3 of the plain one."""
    a, b = np.array([0.6, 0.7, 0.8, 0.9, 1.0]), np.array([0.5, 0.5, 0.5, 0.5, 0.5])
    t = 0.3 / (math.sqrt(0.025) / math.sqrt(5)) / math.sqrt(8 / 3)
    h = 1 + t * t / 4
    cumulated = 0.5 + 0.375 * t / math.sqrt(h) * (1 - t * t / (12 * h))
    assert paired.corrected_t(a, b) == pytest.approx(2 * (1 - cumulated), rel=1e-9)
    assert paired.corrected_t(a, b) > paired.paired_t(a, b)
    assert paired.corrected_t(a, a) == 1 and paired.corrected_t(a, a - 0.1) is None
    assert paired.corrected_t(a[:2], b[:2]) is None  # nothing is left to train on


def test_wilcoxon_counts_the_signs():
    b = np.zeros(5)
    assert paired.wilcoxon(np.array([1.0, 2, 3, 4, 5]), b) == pytest.approx(2 / 2**5)
    # Of the 32 ways to sign the ranks 1 to 5, the negative ones sum to 3 or less in {}, {1}, {2}, {3}, {1, 2}.
    assert paired.wilcoxon(np.array([1.0, 2, -3, 4, 5]), b) == pytest.approx(2 * 5 / 2**5)


def test_folds_that_do_not_differ_or_are_too_few():
    same = np.array([0.5, 0.6, 0.7])
    assert (paired.paired_t(same, same), paired.wilcoxon(same, same)) == (1.0, 1.0)
    assert (paired.paired_t(same[:1], same[:1]), paired.wilcoxon(same[:1], same[:1])) == (None, None)
    assert paired.paired_t(np.array([2.0, 3.0]), np.array([1.0, 2.0])) is None  # every fold by exactly as much


def folder(path, seed, folds, net="piczaknet"):
    """Run folders as training leaves them; `folds`: fold -> which of its clips 0, 1, 2 … were right."""
    for fold, right in folds.items():
        settings = resolve(({"net": net, "seed": seed, "test_fold": fold}, None))
        run = RunFolder.create(path / f"fold{fold}", settings)
        run.describe(settings, data_name="tones", used_backend="cpu")
        rows = [[f"{fold}-{i}.wav", "a", "a" if r else "b", "a" if r else "b", 0.5, 0.5] for i, r in enumerate(right)]
        run.save_predictions(["a", "b"], rows)
        shares = np.array([[r, 1 - r] for r in right])  # one segment a clip
        test = metrics.scores(shares, np.zeros(len(right), int), np.arange(len(right)), ("a", "b"))
        result = {"net": net, "seed": seed, "test_fold": fold, "valid_fold": fold + 1, "training_seconds": 1.0}
        run.save_result({**result, "test": test, "phases": {"0": test}})
    return path


def test_points_are_rounded_as_accuracies_and_nothing_has_no_minus():
    assert [paired.points(difference) for difference in (-0.0655, 0.0025, -1e-17, -4e-4, 0.0)] == [
        "-6.5", "+0.2", "+0.0", "+0.0", "+0.0",
    ]  # fmt: skip
    assert paired.points(-0.066, 0.053) == "-6.6 ± 5.3"


def test_rounding_is_no_difference():
    """Shares of 80 clips, and means over seeds added up in another order."""
    a, b = np.array([51, 60, 57, 60, 41]) / 80, np.array([48, 57, 54, 57, 44]) / 80
    assert len(set(np.abs(a - b))) > 1
    assert paired.wilcoxon(a, b) == paired.wilcoxon(80 * a, 80 * b) == 0.375
    assert paired.paired_t(a, b) == pytest.approx(paired.paired_t(80 * a, 80 * b), rel=1e-9)
    shares = np.array([[0.1, 0.2, 0.3], [0.5, 0.5, 0.5]])
    means = [shares[:, order].sum(axis=1) for order in ([0, 1, 2], [2, 1, 0])]
    assert not np.array_equal(*means)
    assert paired.paired_t(*means) == paired.wilcoxon(*means) == 1.0
    clips = np.array([9, 30, 51, 70])
    assert np.ptp((clips + 7) / 81 - clips / 81) > 0
    assert paired.paired_t((clips + 7) / 81, clips / 81) is None


def test_two_systems_clip_by_clip_and_fold_by_fold(tmp_path, capsys):
    a = folder(tmp_path / "a", 0, {1: [1, 1, 1, 1], 2: [1, 1, 1, 0]})
    b = folder(tmp_path / "b", 0, {1: [1, 0, 0, 0], 2: [1, 1, 0, 1]})
    rows = {row["score"]: row for row in paired.compare(paired.Runs([a]), paired.Runs([b]))}
    clips = rows["clip_accuracy_probability"]
    assert (clips["clips"], clips["only_a"], clips["only_b"]) == (8, 4, 1)
    assert clips["p_mcnemar"] == pytest.approx(2 * (1 + 5) / 2**5)
    assert (clips["a"], clips["b"], clips["difference"]) == (0.875, 0.5, 0.375)
    assert clips["difference_sd"] == pytest.approx(0.75 / math.sqrt(2))  # differences 0.75 and 0
    assert rows["segment_balanced_accuracy"]["p_mcnemar"] is None
    assert paired.main([str(a), str(b)]) == 0
    assert "4 : 1 of 8" in capsys.readouterr().out


def test_seeds_are_compared_one_by_one_and_in_the_mean(tmp_path):
    runs = {}
    for name, shares in {"a": ([1, 1], [1, 0]), "b": ([0, 1], [0, 1])}.items():
        for seed, right in enumerate(shares):
            folder(tmp_path / name / f"seed{seed}", seed, {1: right, 2: [1, 1]})
        runs[name] = paired.Runs([tmp_path / name])
    rows = [r for r in paired.compare(runs["a"], runs["b"]) if r["score"] == "clip_accuracy_majority"]
    assert [row["seed"] for row in rows] == [0, 1, "mean"]
    assert [(row["only_a"], row["only_b"]) for row in rows] == [(1, 0), (1, 1), (None, None)]
    assert rows[2]["difference"] == pytest.approx((0.5 + 0.0) / 2 / 2)


def test_other_recordings_of_the_same_names_are_no_pairs(tmp_path, capsys):
    a, b = (folder(tmp_path / name, 0, {1: [1, 1], 2: [1, 0]}) for name in "ab")
    for path, contents in ((a, "1" * 32), (b, "2" * 32)):
        for fold in (1, 2):
            RunFolder(path / f"fold{fold}").describe(RunFolder.open(path / f"fold{fold}")[1], data_name="tones",
                                                     used_backend="cpu", contents=contents)  # fmt: skip
    for main in (paired.main, ensemble.main, table.main):
        assert main([str(a), str(b)]) == 2
        assert "trained on other recordings of the same names" in capsys.readouterr().err
    assert table.main([str(a)]) == 0
    for fold in (1, 2):  # other names, too: some clips are left out, say; their tests tell
        RunFolder(b / f"fold{fold}").describe(RunFolder.open(b / f"fold{fold}")[1], data_name="tones",
                                              used_backend="cpu", contents="2" * 32, layout="other")  # fmt: skip
    assert paired.main([str(a), str(b)]) == ensemble.main([str(a), str(b)]) == 0


def test_models_that_were_validated_on_other_folds_are_no_pairs(tmp_path, capsys):
    a, b = (folder(tmp_path / name, 0, {1: [1, 1], 2: [1, 0]}) for name in "ab")
    result = RunFolder(b / "fold2").finished()
    RunFolder(b / "fold2").save_result({**result, "valid_fold": 1})
    for main in (paired.main, table.main):
        assert main([str(a), str(b)]) == 2
        assert f"{a / 'fold2'} on fold 3, {b / 'fold2'} on fold 1; keep them apart" in capsys.readouterr().err
    assert table.main([str(b)]) == 0


def test_what_cannot_be_paired_is_named(tmp_path, capsys):
    a = folder(tmp_path / "a", 0, {1: [1, 1]})
    for name, seed, folds, words in [
        ("seed", 1, {1: [1, 1]}, "share no seed"),
        ("fold", 0, {2: [1, 1]}, "share no test fold"),
        ("clips", 0, {1: [1, 1, 1]}, "other clips"),
    ]:
        assert paired.main([str(a), str(folder(tmp_path / name, seed, folds))]) == 2
        assert words in capsys.readouterr().err
    (a / "fold1" / "predictions.csv").unlink()
    with pytest.raises(InputError, match=r"predictions\.csv"):
        paired.right(a / "fold1", "majority")
    assert paired.main([str(a), str(tmp_path / "absent")]) == 2
    folder(tmp_path / "twice" / "x", 0, {1: [1, 1]})
    folder(tmp_path / "twice" / "y", 0, {1: [1, 1]})
    with pytest.raises(InputError, match="more than one run of seed 0"):
        paired.Runs([tmp_path / "twice"])


def test_the_corrected_p_counts_the_folds_of_the_data_and_not_those_compared():
    a, b = np.array([0.6, 0.8, 0.7]), np.array([0.5, 0.6, 0.55])
    difference = a - b
    t = difference.mean() / (difference.std(ddof=1) * math.sqrt(1 / 3 + 1 / 8))  # three of ten folds: eight train
    assert paired.corrected_t(a, b, 10) == pytest.approx(2 * student.sf(t, 2), rel=1e-9)
    assert paired.corrected_t(a[:2], b[:2], 10) is not None and paired.corrected_t(a[:1], b[:1], 10) is None


def test_the_table_has_the_corrected_p_of_as_many_folds_as_the_data_has(tmp_path):
    for name, right in (("a", [1, 1, 1, 0]), ("b", [1, 0, 0, 0])):
        folder(tmp_path / name, 0, {1: right, 2: right[::-1], 3: [1, 1, 0, 0]})
        rows = [["x.wav", "a", fold, "train", f"{fold}"] for fold in range(1, 11)]
        for fold in (1, 2, 3):
            write_table(tmp_path / name / f"fold{fold}" / "recordings.csv", [USES, *rows])
    row, *_ = paired.compare(paired.Runs([tmp_path / "a"]), paired.Runs([tmp_path / "b"]))
    both = [
        np.array([paired.Runs([tmp_path / name]).rows[0][fold][row["score"]] for fold in (1, 2, 3)]) for name in "ab"
    ]
    assert row["p_corrected"] == pytest.approx(paired.corrected_t(*both, 10)) != paired.corrected_t(*both)
    assert "| p, corrected t |" in paired.comparison_markdown([row])
