"""The models of a cross-validation as one: together they have learned from every fold."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from scratchnet import model
from scratchnet.errors import InputError
from scratchnet.model import Model, Prediction
from scratchnet.training.runfolder import CONFIG, MODEL, RESULT, RunFolder, resume_command


class Ensemble:
    """Models of the same classes and sound settings: each probability is the mean of theirs. For all else, its `models`
    are there, in the order of their folds."""

    def __init__(self, models: list[Model], what: str) -> None:
        self.models = models
        self.classes, self.settings = models[0].classes, models[0].settings
        self.what = what  # whose models they are, in words

    def __repr__(self) -> str:
        return f"Ensemble({len(self.models)} of {self.models[0]!r})"

    def predict(self, sound: np.ndarray | str | Path, sample_rate: int | None = None) -> Prediction:
        """Classify a waveform (n,) or a sound file: as `Model.predict`, and raises the same."""
        x = self.models[0].waveform(sound, sample_rate)
        cut = self.models[0].cut(x)
        each = [one.hear(x, cut) for one in self.models]
        probs = np.mean([one.segment_probabilities for one in each], axis=0)
        return Prediction(self.classes, probs.mean(axis=0), each[0].start, each[0].end, probs)


def load(path: str | Path) -> Model | Ensemble:
    """Load the model of a run folder or a model.safetensors, or all models of a cross-validation's folder whose fold is
    finished, onto the backend in use.

    Raises `InputError` where there is none, or one is damaged.
    """
    folder = RunFolder(Path(path))
    if (folder.path / MODEL).is_file() or not (folder.path / CONFIG).is_file() or not folder.open(folder.path)[1].cv:
        return model.load(path)
    result = folder.result()
    found = (place.parent.name.removeprefix("fold") for place in folder.path.glob(f"fold*/{RESULT}"))
    folds = sorted(map(int, result["folds"] if result else filter(str.isdecimal, found)))
    if not folds:
        raise InputError(f"{path}: no fold of this cross-validation is finished; go on with {resume_command(path)}")
    models = [model.load(folder.fold(k)) for k in folds]
    return Ensemble(models, f"its models are those of fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}")
