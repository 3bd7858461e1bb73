"""Whether what was read of a run folder is what was written there."""

from __future__ import annotations

from typing import Any

from scratchnet.training import metrics


def is_config(value: Any) -> bool:
    """Whether this is what `describe` wrote; in one of an older version other settings may be missing: the defaults."""
    known = {"scratchnet", "python", "platform"}
    return {"net", "versions"} <= _keys(value) and known <= _keys(value["versions"])


def is_result(value: Any) -> bool:
    """Whether this is the result.json of a run on one split, or on all folds in turn."""
    folds = _keys(value.get("folds")) if _keys(value) else ()
    split = {"test_fold", "valid_fold"} <= _keys(value) or (folds and all(map(str.isdigit, folds)))
    if not split or not {"net", "seed", "test", "phases", "training_seconds"} <= value.keys():
        return False
    return isinstance(value["phases"], dict) and all(map(are_scores, [value["test"], *value["phases"].values()]))


def are_scores(value: Any) -> bool:
    """Whether these are `metrics.scores`, of one fold or gathered."""
    if not {*metrics.SCORES, "clips", "confusion", "confusion_clips", "classes"} <= _keys(value):
        return False
    return all(isinstance(value[score], int | float) for score in metrics.SCORES)


def _keys(value: Any) -> set[str]:
    """Those of a table; none of what is no table."""
    return set(value) if isinstance(value, dict) else set()
