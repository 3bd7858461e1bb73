import numpy as np
import pytest

from scratchnet.errors import InputError
from scratchnet.training import metrics


def test_confusion_matrix_has_true_classes_as_rows():
    confusion = metrics.confusion_matrix(np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2]), 3)
    assert confusion.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


def test_accuracy_counts_segments_and_balanced_accuracy_counts_classes():
    confusion = np.array([[90, 10], [5, 5]])
    assert metrics.accuracy(confusion) == pytest.approx(95 / 110)
    assert metrics.balanced_accuracy(confusion) == pytest.approx((0.9 + 0.5) / 2)


def test_balanced_accuracy_averages_over_the_classes_that_are_there():
    assert metrics.balanced_accuracy(np.array([[3, 1, 0], [0, 0, 0], [0, 2, 2]])) == pytest.approx((0.75 + 0.5) / 2)
    assert np.isnan(metrics.balanced_accuracy(np.zeros((2, 2))))


def test_balanced_accuracy_is_scikit_learns():
    sklearn = pytest.importorskip("sklearn.metrics", reason="scikit-learn is the oracle")
    rng = np.random.default_rng(1)
    true, predicted = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    ours = metrics.balanced_accuracy(metrics.confusion_matrix(true, predicted, 6))
    assert ours == pytest.approx(sklearn.balanced_accuracy_score(true, predicted))


def test_votes_differ_where_one_segment_is_sure():
    # Clip 7: two segments lean to class 0, one is sure of class 1.
    probs = np.array([[0.51, 0.49], [0.52, 0.48], [0.01, 0.99], [0.2, 0.8]])
    clip = np.array([7, 7, 7, 3])
    clips, majority = metrics.vote_majority(probs, clip)
    assert clips.tolist() == [3, 7]
    assert majority.tolist() == [1, 0]
    assert metrics.vote_probability(probs, clip)[1].tolist() == [1, 1]


def test_a_tied_majority_goes_to_the_higher_summed_probability_among_the_tied():
    # Classes 0 and 1 have a vote each; class 2 has the highest sum but no vote.
    probs = np.array([[0.45, 0.11, 0.44], [0.05, 0.48, 0.47]])
    assert metrics.vote_majority(probs, np.zeros(2, int))[1].tolist() == [1]
    assert metrics.vote_probability(probs, np.zeros(2, int))[1].tolist() == [2]


def test_figures_of_a_perfect_and_of_a_wrong_classifier():
    label, clip = np.array([0, 0, 1, 1, 1]), np.array([4, 4, 2, 2, 9])
    right = metrics.scores(np.eye(2)[label], label, clip, ("a", "b"))
    assert [right[score] for score in metrics.SCORES] == [1.0] * 5
    assert right["confusion"] == [[2, 0], [0, 3]]
    assert right["confusion_clips"] == [[1, 0], [0, 2]]
    assert (right["segments"], right["clips"], right["classes"]) == (5, 3, ["a", "b"])
    wrong = metrics.scores(np.eye(2)[1 - label], label, clip, ("a", "b"))
    assert [wrong[score] for score in metrics.SCORES] == [0.0] * 5


def test_clip_rows_say_of_every_clip_what_the_figures_count():
    # Clip 7 as above: class "a" by majority, "b" by mean probability; its mean is (1.04, 1.96) / 3.
    probs = np.array([[0.51, 0.49], [0.52, 0.48], [0.01, 0.99], [0.2, 0.8]])
    clip, label = np.array([2, 2, 2, 0]), np.array([0, 0, 0, 1])
    rows = metrics.clip_rows(probs, label, clip, ("a", "b"), ["x.wav", "y.wav", "z.wav"])
    assert rows == [["x.wav", "b", "b", "b", "0.2", "0.8"], ["z.wav", "a", "a", "b", "0.346667", "0.653333"]]


def test_gather_gives_mean_deviation_folds_and_pooled_confusion():
    label, clip = np.array([0, 0, 1, 1]), np.arange(4)
    perfect = metrics.scores(np.eye(2)[label], label, clip, ("a", "b"))
    half = metrics.scores(np.eye(2)[[0, 1, 0, 1]], label, clip, ("a", "b"))
    both = metrics.gather({3: half, 1: perfect})
    assert both["segment_accuracy"] == 0.75
    assert both["std"]["segment_accuracy"] == pytest.approx(np.std([1.0, 0.5], ddof=1))
    assert both["per_fold"]["clip_accuracy_majority"] == {"1": 1.0, "3": 0.5}
    assert both["confusion"] == [[3, 1], [1, 3]]
    assert both["segments"] == 8
    with pytest.raises(InputError):
        metrics.gather({})
