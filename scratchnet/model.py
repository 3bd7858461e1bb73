"""A trained model: sound in, classes and probabilities out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from scratchnet import backend, nets
from scratchnet.data.source import AUDIO
from scratchnet.errors import InputError, say
from scratchnet.network import Network
from scratchnet.sound import SoundSettings
from scratchnet.sound import load as load_sound
from scratchnet.sound.io import check_rate
from scratchnet.sound.segments import Cut, segment_clip
from scratchnet.training.evaluation import BATCH, probabilities, softmax
from scratchnet.training.files import read_arrays
from scratchnet.training.inputs import Normalisation
from scratchnet.training.runfolder import CONFIG, MODEL, RESULT, RunFolder, resume_command

if TYPE_CHECKING:
    from scratchnet.data import Segments


@dataclass(frozen=True)
class Prediction:
    """What a model hears in one sound; `names, p = prediction` unpacks the classes and their probabilities.

    `classes`: K names; `probabilities` (K,): mean over the segments; `start`, `end` (n,) in seconds and
    `segment_probabilities` (n, K): the time line.
    """

    classes: tuple[str, ...]
    probabilities: np.ndarray
    start: np.ndarray
    end: np.ndarray
    segment_probabilities: np.ndarray

    def __iter__(self) -> Iterator[Any]:
        return iter((self.classes, self.probabilities))

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[int(self.probabilities.argmax())]

    @property
    def probability(self) -> float:
        """Its probability."""
        return float(self.probabilities.max())

    def segments(self) -> list[dict[str, Any]]:
        """The time line: start and end in seconds, class, its probability and those of all classes of each segment."""
        line = zip(self.start, self.end, self.segment_probabilities)
        return [{"start": float(start), "end": float(end), **self._heard(p)} for start, end, p in line]

    def _heard(self, p: np.ndarray) -> dict[str, Any]:
        named = {name: float(share) for name, share in zip(self.classes, p)}
        return {"class": self.classes[int(p.argmax())], "probability": float(p.max()), "probabilities": named}

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {**self._heard(self.probabilities), "segments": self.segments()}


class Model:
    """A network with all that it needs to hear: how sound is cut and scaled, and what its classes are called."""

    def __init__(self, network: Network, about: dict[str, Any]) -> None:
        self.network = network
        self.classes: tuple[str, ...] = tuple(about["classes"])
        self.settings: SoundSettings = SoundSettings.from_dict(about["sound"])
        self.feature: str = about["feature"]
        self.norm = Normalisation(about["offset"], about["scale"])
        self.about = about

    def __repr__(self) -> str:
        name, rate = self.about["network"]["name"], self.settings.sample_rate
        return f"Model({name}, {rate} Hz, {len(self.classes)} classes: {', '.join(self.classes)})"

    @property
    def what(self) -> str:
        """Whose model it is, in words."""
        return f"its model is that of phase {self.about['phase']}, {self.about['network']['name']}"

    def predict(self, sound: np.ndarray | str | Path, sample_rate: int | None = None) -> Prediction:
        """Classify a waveform (n,) or a sound file; unsigned integers are centred at half their range, as 8-bit PCM.

        `sample_rate` in hertz of a waveform; None: the model's own, 22050 unless trained otherwise. Raises `InputError`
        for a file that cannot be read, a waveform that is none (empty, silent, of NaN, not one-dimensional) and a
        `sample_rate` that is no number of hertz, or given with a file, which says its own.
        """
        return self.hear(self.waveform(sound, sample_rate))

    def hear(self, x: np.ndarray, cut: Cut | None = None) -> Prediction:
        """Classify a waveform (n,) as `waveform` gives it; `cut`: what `self.cut` makes of it, where that is known."""
        starts, take = self._inputs(self.cut(x) if cut is None else cut)
        parts = (slice(i, i + BATCH) for i in range(0, len(starts), BATCH))  # of hours not all at once
        probs = np.concatenate([self.classify(take(part)) for part in parts])
        ends = np.minimum(starts + self.settings.segment_length, len(x))  # a short sound is padded
        rate = self.settings.sample_rate
        return Prediction(self.classes, probs.mean(axis=0), starts / rate, ends / rate, probs)

    def inputs(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The segments of a waveform (n,) as the network takes them, (k, 1, 20992) or (k, channels, 60, 41), and their
        first samples (k,); k is at least 1, short sounds being padded.
        """
        starts, take = self._inputs(self.cut(x))
        return take(slice(None)), starts

    def cut(self, x: np.ndarray) -> Cut:
        """A waveform's segments, the same for all models of equal settings: see `sound.segments.segment_clip`."""
        return segment_clip(x, self._settings())

    def _inputs(self, cut: Cut) -> tuple[np.ndarray, Callable[[slice], np.ndarray]]:
        """The first samples of a waveform's segments, and what makes some of these as the network takes them."""
        x, starts, scale, logmel = cut
        windows = sliding_window_view(x, self.settings.segment_length)

        def take(some: slice) -> np.ndarray:
            if self.feature != "waveform":
                return self._spectrograms(logmel[some])
            return (windows[starts[some]] * scale[some, None])[:, None]

        return starts, take

    def classify(self, inputs: np.ndarray) -> np.ndarray:
        """(k, K) probabilities of segments as `inputs` gives them."""
        parts = [
            softmax(backend.to_numpy(self.network.forward(backend.asarray(inputs[i : i + BATCH]))))
            for i in range(0, len(inputs), BATCH)
        ]
        return np.concatenate(parts)

    def _settings(self) -> SoundSettings:
        """The settings, but with short sounds padded: whoever asks wants an answer."""
        return replace(self.settings, short="pad")

    def waveform(self, sound: np.ndarray | str | Path, sample_rate: int | None = None) -> np.ndarray:
        """What `predict` takes as float32 (n,) at the model's sample rate. Raises `InputError` as `predict`."""
        rate = self.settings.sample_rate
        if isinstance(sound, str | Path):
            if sample_rate is not None:
                raise InputError(f"{sound}: a file says its sample rate itself; leave sample_rate out")
            name, x = str(sound), load_sound(sound, rate)
        else:
            name, x = "waveform", _samples(sound)
            if x.ndim != 1 or len(x) < 2:
                hint = "; of several channels take the mean" if x.ndim == 2 else ""
                raise InputError(f"waveform of shape {x.shape}: takes samples (n,), at least two{hint}")
            if sample_rate is not None and sample_rate != rate:
                import soxr

                check_rate(sample_rate)
                x = soxr.resample(x, sample_rate, rate).astype(np.float32)
                if len(x) < 2:
                    raise InputError(f"waveform: too short, {len(x)} samples at {rate} Hz")
            if not np.isfinite(x).all():  # after a filter, which values near float32's greatest pass over
                raise InputError("waveform: holds values that are not finite, or too large")
        if not x.any():
            raise InputError(f"{name}: silent, nothing to classify")
        return x

    def _spectrograms(self, logmel: np.ndarray) -> np.ndarray:
        """(n, channels, 60, 41) as the network was trained on them."""
        from scratchnet.data.segments import standardised

        x = np.empty((len(logmel), self.settings.channels, *logmel.shape[1:]), np.float32)
        x[:, 0] = logmel
        return standardised(x, self.norm.offset, self.norm.scale, self.settings.deltas)

    def probabilities(self, segments: Segments, indices: np.ndarray) -> np.ndarray:
        """(n, K) of prepared segments, as at the end of training."""
        seed = self.about["dropout_seed"]
        return probabilities(self.network, segments, indices, self.feature, self.norm, dropout_seed=seed)


def load_phase(path: str | Path, name: str | int) -> Model:
    """The model as it was at the best epoch of one phase of a run: 0 (PiczakNet on spectrograms), "forcing" (MSTNet's
    forced front end), 1, 2, 3 or "random".

    Raises `InputError` where `path` is no run folder, or the run has no such phase or no weights of it.
    """
    from scratchnet.training.icebreaker import build, dropout_seed, feature_of
    from scratchnet.training.phases import phases_for

    folder, config = RunFolder.open(Path(path))
    phases = {str(phase.name): phase for phase in phases_for(config)}
    if str(name) not in phases:
        raise InputError(f"{path}: this run has no phase {name} (it has {', '.join(phases)})")
    phase = phases[str(name)]
    weights = folder.weights_of(phase)
    _, about = read_arrays(folder.path / MODEL)
    inside = Normalisation(*about["inside"])
    config = config.with_(dropout_in_evaluation=False)
    network = build(config, phase.net or config.net, len(about["classes"]), inside)
    try:
        network.load_state_dict({**network.state_dict(), **weights})  # what no phase trained is as it was built
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: not the weights of phase {name} ({error})") from None
    changes = {"network": network.spec, "phase": phase.name, "feature": feature_of(network)}
    return Model(network, {**about, **changes, "dropout_seed": dropout_seed(config, phase.name)})


def _samples(sound: Any) -> np.ndarray:
    """As float32; unsigned integers centred at 0, as PCM of 8 bits is at 128. `InputError` for what is no number."""
    try:
        x = np.asarray(sound)
        if x.dtype.kind not in "biufO":
            raise InputError(f"waveform of {x.dtype}: takes numbers, or the name of one sound file")
        if x.dtype.kind == "u":
            x = x - 2.0 ** (8 * x.itemsize - 1)
        with np.errstate(over="ignore"):  # infinite is refused
            return x.astype(np.float32, copy=False)
    except InputError:
        raise
    except (TypeError, ValueError, OverflowError):
        raise InputError("waveform: holds what is no number") from None


def warn_if_unfinished(path: str | Path, what: str) -> None:
    """Say `what` models there are where `path` is the folder of a run that has not ended."""
    if Path(path).is_dir() and not (Path(path) / RESULT).is_file():
        say(f"{path}: not finished, {what}; go on with {resume_command(path)}")


def load(path: str | Path, *, as_trained: bool = False) -> Model:
    """Load a model from a run folder or a model.safetensors, onto the backend in use.

    `as_trained`: with dropout in evaluation too, where the run wanted that.
    Raises `InputError` where there is no model, or one whose weights are not finite.
    """
    file = Path(path)
    if file.is_dir():
        folds = sorted(file.glob(f"fold*/{MODEL}"))
        file = file / MODEL
        if not file.is_file() and folds:
            raise InputError(f"{path}: a cross-validation; name one of its folds, such as {folds[0].parent}")
        if not file.is_file():
            begun = (Path(path) / CONFIG).is_file()
            hint = f"; its first phase has not ended, go on with {resume_command(path)}" if begun else ""
            hint = "; it was finished: put it back, or train again" if (Path(path) / RESULT).is_file() else hint
            raise InputError(f"{path}: no trained model in this folder (no {MODEL}){hint}")
    if not file.exists():
        raise InputError(f"{path}: no such file or folder")
    if file.suffix.lower() in AUDIO:
        raise InputError(f"{path} is a sound: name the run first, or its model.safetensors")
    arrays, about = read_arrays(file)
    if about.get("format") != 1:
        raise InputError(f"{path}: no model of scratchnet (its metadata names no network)")
    if not all(np.isfinite(array).all() for array in arrays.values()):
        raise InputError(f"{path}: its weights are not finite, for its training diverged: take a smaller --lr")
    try:
        spec = dict(about["network"])
        if not as_trained and "dropout_in_evaluation" in spec:
            spec["dropout_in_evaluation"] = False
        network = nets.build(**spec)
        network.load_state_dict(arrays)
        return Model(network.to(backend.current()), about)
    except InputError:  # of the environment
        raise
    except (KeyError, ValueError, TypeError) as error:
        raise InputError(f"{path}: not a whole model of scratchnet ({error})") from None
