"""Two systems compared clip by clip and fold by fold:   python -m experiments.paired A B

A and B are run folders of the same data and test folds (one split, or a cross-validation), or folders of such runs with
several seeds. Per seed: McNemar's exact test on the pooled test clips, whose question is whether one system is right
where the other is wrong more often than the other way round; and the paired t-test, as it is and corrected for training
sets that overlap, and Wilcoxon's signed-rank test of the folds' accuracies. With several seeds, the folds' means over
the seeds are tested too, as seed "mean".
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from experiments.table import SCORES, TITLES, find, percent, row_of, same_recordings, same_splits
from scratchnet.cli import Parser, guard
from scratchnet.errors import InputError
from scratchnet.training.files import damaged, read_table
from scratchnet.training.markdown import markdown
from scratchnet.training.runfolder import COLUMNS, PREDICTIONS, RECORDINGS, USES, RunFolder

VOTES = {"clip_accuracy_majority": "majority", "clip_accuracy_probability": "probability"}
Row = dict[str, Any]


def mcnemar(only_a: int, only_b: int) -> float:
    """The exact two-sided p-value of McNemar's test: of `only_a + only_b` clips that exactly one system got right,
    each falls to A or B like a fair coin. 1 where there is none (McNemar 1947).
    """
    from scipy.stats import binomtest

    return float(binomtest(only_a, only_a + only_b, 0.5).pvalue) if only_a + only_b else 1.0


def paired_t(a: np.ndarray, b: np.ndarray) -> float | None:
    """The two-sided p-value of the paired t-test over folds; 1 where nothing differs. None for fewer than two, or where
    all differ by the same: there is no spread to measure it by."""
    from scipy.stats import ttest_1samp

    difference = differences(a, b)
    if len(difference) < 2:
        return None
    if np.ptp(difference) == 0:
        return None if difference[0] else 1.0
    return float(ttest_1samp(difference, 0).pvalue)


def corrected_t(a: np.ndarray, b: np.ndarray, of: int | None = None) -> float | None:
    """As `paired_t`, but its variance allows for training sets that overlap (Nadeau & Bengio 2003): where k folds of
    `of` were tested (None: all), each model trained on `of` − 2, the mean's variance is (1/k + 1/(of − 2)) s² in place
    of s²/k. None for fewer than two folds, or where nothing is left to train on.
    """
    from scipy.stats import t as student

    difference = differences(a, b)
    k = len(difference)
    of = k if of is None else of
    if k < 2 or of < 3 or np.ptp(difference) == 0:
        return paired_t(a, b) if of > 2 else None
    error = difference.std(ddof=1) * np.sqrt(1 / k + 1 / (of - 2))
    return float(2 * student.sf(abs(difference.mean() / error), k - 1))


def wilcoxon(a: np.ndarray, b: np.ndarray) -> float | None:
    """The two-sided p-value of Wilcoxon's signed-rank test over folds; None for fewer than two; 1 where none differs.

    Five folds can reach no less than 2 / 2^5 = 0.0625.
    """
    from scipy.stats import wilcoxon as test

    difference = differences(a, b)
    if len(difference) < 2:
        return None
    return float(test(difference).pvalue) if difference.any() else 1.0


def differences(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a − b, fold by fold, without rounding errors: 3 clips of 80 more are as many in every fold."""
    return np.round(a - b, 12)


def predictions(path: Path) -> list[dict[str, str]]:
    """A row for each test clip of the run in this folder.

    Raises `InputError` where the run is not finished, keeps no predictions, or they are damaged.
    """
    file, test = path / PREDICTIONS, RunFolder(path).finished()["test"]
    classes = test["classes"]
    columns = [*COLUMNS, *(f"p({name})" for name in classes)]
    try:
        rows = read_table(file, columns)
        whole = all(_whole(row, classes) for row in rows)
    except OSError:
        raise InputError(f"{path}: keeps no {PREDICTIONS}; train it again") from None
    except InputError:
        raise
    except ValueError:  # a probability that is no number
        whole = False
    if not whole or not len(rows) == len({row[0] for row in rows}) == test["clips"]:
        raise damaged(file)
    return [dict(zip(columns, row)) for row in rows]


def _whole(row: Sequence[str], classes: Sequence[str]) -> bool:
    """Whether label and votes of a clip are classes, and each class has a probability. ValueError: it is no number."""
    votes, shares = row[1 : len(COLUMNS)], row[len(COLUMNS) :]
    within = all(0 <= float(share) <= 1 + 1e-6 for share in shares)  # 1 and its rounding, in float32
    return len(shares) == len(classes) and {*votes} <= {*classes} and within


def right(path: Path, vote: str) -> dict[str, bool]:
    """Clip -> whether the model in this run folder got it right by that vote."""
    return {row["clip"]: row["label"] == row[vote] for row in predictions(path)}


class Runs:
    """One system's models by seed and fold."""

    def __init__(self, paths: Sequence[str | Path]) -> None:
        self.name = ", ".join(map(str, paths))
        self.rows: dict[int, dict[int, Row]] = {}
        for folder in find(paths):
            row = row_of(folder, hashed=False)
            if row["fold"] in self.rows.setdefault(row["seed"], {}):
                raise InputError(f"{self.name}: more than one run of seed {row['seed']} on fold {row['fold']}")
            self.rows[row["seed"]][row["fold"]] = row

    def scores(self, seed: int, folds: Sequence[int], score: str) -> np.ndarray:
        """One accuracy per fold."""
        return np.array([self.rows[seed][fold][score] for fold in folds])

    def right(self, seed: int, folds: Sequence[int], vote: str) -> dict[str, bool]:
        """Clip -> whether it was right, over all folds."""
        return {clip: r for fold in folds for clip, r in right(Path(self.rows[seed][fold]["run"]), vote).items()}


def compare(a: Runs, b: Runs) -> list[Row]:
    """A row for each seed and accuracy: both means, their difference with its deviation over folds, the p-values.

    Raises `InputError` where A and B share no seed and fold, learned from other folds, or were tested on other clips.
    """
    rows = [row for runs in (a, b) for folds in runs.rows.values() for row in folds.values()]
    same_recordings(row["run"] for row in rows)
    same_splits(rows)
    seeds = sorted(set(a.rows) & set(b.rows))
    if not seeds:
        raise InputError(f"{a.name} and {b.name} share no seed")
    folds = sorted(set.intersection(*(set(runs.rows[seed]) for runs in (a, b) for seed in seeds)))
    if not folds:
        raise InputError(f"{a.name} and {b.name} share no test fold")
    made, of = [], folds_in(rows[0]["run"])
    for score in SCORES:
        both = np.array([[runs.scores(seed, folds, score) for seed in seeds] for runs in (a, b)])
        for number, seed in enumerate(seeds):
            made.append(_row(seed, score, *both[:, number], of) | _mcnemar(a, b, seed, folds, score))
        if len(seeds) > 1:
            made.append(_row("mean", score, *both.mean(axis=1), of) | dict.fromkeys(COUNTS))
    return made


COUNTS = ("clips", "only_a", "only_b", "p_mcnemar")


def folds_in(run: str | Path) -> int | None:
    """How many folds the data of a run has; None where it keeps no record of them."""
    path = Path(run) / RECORDINGS
    return len({row[USES.index("fold")] for row in read_table(path, USES)}) if path.is_file() else None


def _row(seed: int | str, score: str, a: np.ndarray, b: np.ndarray, of: int | None) -> Row:
    return {
        "seed": seed,
        "score": score,
        "folds": len(a),
        "a": float(a.mean()),
        "b": float(b.mean()),
        "difference": float((a - b).mean()),
        "difference_sd": float(np.std(a - b, ddof=1)) if len(a) > 1 else None,
        "p_t": paired_t(a, b),
        "p_corrected": corrected_t(a, b, of),
        "p_wilcoxon": wilcoxon(a, b),
    }


def _mcnemar(a: Runs, b: Runs, seed: int, folds: Sequence[int], score: str) -> Row:
    if score not in VOTES:  # segments of a clip are no independent observations
        return dict.fromkeys(COUNTS)
    of_a, of_b = (runs.right(seed, folds, VOTES[score]) for runs in (a, b))
    if of_a.keys() != of_b.keys():
        raise InputError(f"{a.name} and {b.name} were tested on other clips: no pairs can be made")
    only_a = sum(of_a[clip] and not of_b[clip] for clip in of_a)
    only_b = sum(of_b[clip] and not of_a[clip] for clip in of_a)
    return dict(zip(COUNTS, (len(of_a), only_a, only_b, mcnemar(only_a, only_b))))


def p_value(value: float | None) -> str:
    """A p-value as tables print it."""
    return "" if value is None else f"{value:.3f}" if value >= 0.001 else "< 0.001"


def points(difference: float, sd: float | None = None) -> str:
    """-6.6 ± 5.3, rounded as `percent` does; what rounds to nothing has no minus."""
    return f"{round(100 * difference, 9):+z.1f}" + ("" if sd is None else f" ± {100 * sd:.1f}")


def comparison_markdown(rows: Sequence[Row]) -> str:
    """The rows of `compare` as Markdown."""
    cells = []
    for row in rows:
        clips = "" if row["clips"] is None else f"{row['only_a']} : {row['only_b']} of {row['clips']}"
        cells.append(
            [f"{row['seed']}", TITLES[row["score"]], percent(row["a"]), percent(row["b"]),
             points(row["difference"], row["difference_sd"]), f"{row['folds']}",
             *(p_value(row[name]) for name in ("p_t", "p_corrected", "p_wilcoxon")), clips, p_value(row["p_mcnemar"])]
        )  # fmt: skip
    heads = [
        "seed",
        "accuracy",
        "A (%)",
        "B (%)",
        "A − B (points)",
        "folds",
        "p, paired t",
        "p, corrected t",
        "p, Wilcoxon",
    ]
    return markdown([*heads, "right: A alone : B alone", "p, McNemar"], cells)


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison; returns the exit status."""
    parser = Parser(prog="python -m experiments.paired", description="Compare two systems clip by clip, fold by fold.")
    for name in "AB":
        parser.add_argument(name, metavar=name, help="run folder, or folder of runs with several seeds")
    options = parser.parse(argv)
    print(f"A: {options.A}. B: {options.B}.\n")
    print(comparison_markdown(compare(Runs([options.A]), Runs([options.B]))))
    return 0


if __name__ == "__main__":
    sys.exit(main())
