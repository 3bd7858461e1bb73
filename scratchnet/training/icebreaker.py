"""The IceBreaker (paper, section 2.3.1): one split of the data trained through all phases of its run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from scratchnet import backend, nets
from scratchnet.folding import fold_batchnorm
from scratchnet.network import Network
from scratchnet.training import metrics
from scratchnet.training.config import Config
from scratchnet.training.evaluation import probabilities
from scratchnet.training.inputs import Normalisation, forcing_target, normalisation, normalisation_inside
from scratchnet.training.loop import Listener, State, Trainer
from scratchnet.training.phases import FORCED, Phase, PhaseName, phases_for, start_weights, trains
from scratchnet.training.runfolder import RunFolder
from scratchnet.training.screen import Screen
from scratchnet.training.stop import Stop, stop_on_signal
from scratchnet.training.tasks import Classification, Forcing, Task
from scratchnet.training.updates import Updates

if TYPE_CHECKING:
    from scratchnet.data import Segments

STREAMS: dict[PhaseName, int] = {0: 0, 1: 1, 2: 2, 3: 3, "random": 4, FORCED: 5}  # random numbers of each phase


def dropout_seed(config: Config, phase: PhaseName) -> int:
    """The seed of a phase's dropout masks, of 62 bits."""
    return int(np.random.SeedSequence((config.seed, STREAMS[phase])).generate_state(1, np.uint64)[0] >> np.uint64(2))


def build(config: Config, net: str, n_classes: int, inside: Normalisation) -> Network:
    """The network of that name by the settings, its weights drawn from the run's seed, on the backend in use.

    `inside`: the normalisation between its front end and PiczakNet, part of the network.
    """
    options: dict[str, Any] = {
        "dropout": config.dropout,
        "dropout_in_evaluation": config.dropout_in_evaluation,
    }
    if config.back_end == "piczak":
        options |= {"pool_ceil": config.pool_ceil, "init": config.weight_init}
    if net in nets.NET_OF.values():
        options["in_channels"] = 2 if config.deltas else 1
    else:
        options["back_end"] = config.back_end
    if net == "heurinet":
        options |= {"conv1_channels": config.conv1_channels, "conv1_kernel": config.conv1_kernel}
    elif net == "melnet":
        options |= {"power": config.mel_power, "top_db": config.top_db, "amin": config.amin, "window": config.window}
    elif net == "mstnet":
        options |= {"batch_norm": config.mst_batch_norm, "padding": config.mst_padding}
    if net in ("melnet", "mstnet"):
        options |= {"mean": inside.offset, "std": inside.scale}
    built = nets.build(net, n_classes, rng=np.random.default_rng(config.seed), **options)
    return built.to(backend.current())


def freeze_for(net: Network, phase: Phase) -> None:
    """Freeze what `phase` does not train."""
    for name, layer in net.layers.items():
        if layer.params or layer.buffers:
            (net.unfreeze if trains(phase, name) else net.freeze)(name)


def model_about(
    config: Config, net: Network, segments: Segments, norm: Normalisation, inside: Normalisation, phase: Phase
) -> dict[str, Any]:
    """What model.safetensors says of itself."""
    return {
        "format": 1,
        "network": net.spec,
        "phase": phase.name,
        "classes": list(segments.classes),
        "codes": list(segments.codes),
        "sound": segments.settings.to_dict(),
        "feature": feature_of(net),
        "offset": norm.offset,
        "scale": norm.scale,
        "inside": [inside.offset, inside.scale],
        "dropout_seed": dropout_seed(config, phase.name),
    }


def feature_of(net: Network) -> str:
    """What a network is fed: "waveform", or "logmel" where there is no front end."""
    return "waveform" if "deepfourier" in net.groups else "logmel"


class IceBreaker:
    """One run over one split, in its folder; finished phases and epochs found there are not repeated."""

    def __init__(
        self,
        config: Config,
        segments: Segments,
        indices: tuple[np.ndarray, np.ndarray, np.ndarray],
        folder: RunFolder,
        screen: Screen,
    ) -> None:
        self.config, self.segments, self.folder, self.screen = config, segments, folder, screen
        self.train, self.valid, self.test = indices
        self.norm = normalisation(config, segments, self.train)
        self.inside = normalisation_inside(config, segments, self.train)
        self.phases = phases_for(config)
        self.best: dict[PhaseName, dict[str, np.ndarray]] = {}
        self._nets: dict[str, Network] = {}

    def run(self) -> dict[str, Any]:
        """Train what is not trained yet; returns the test scores of every phase, by its name, in order."""
        scores = {}
        for phase in self.phases:
            net = self._net(phase)
            with stop_on_signal() as stop:
                about = self._train(phase, net, stop)
                found = self.folder.load_scores(phase.name)
                if found is None:
                    self._load_best(phase, net)
                    done = fold_batchnorm(net)
                    self.folder.save_model(
                        done.state_dict(), model_about(self.config, done, self.segments, self.norm, self.inside, phase)
                    )
                    found = {**self._scores(phase, done, stop), **about}
                    if phase.name == FORCED:
                        found |= self._forced(phase, done, stop)
                    self.folder.save_scores(phase.name, found)
                stop.check()  # what was asked for after the last batch would be forgotten with this `stop`
            scores[str(phase.name)] = found
            self.screen.say(summary(phase, found))
        return scores

    # -- one phase

    def _net(self, phase: Phase) -> Network:
        """Phase 0 has a PiczakNet of its own; it goes when the run's network comes."""
        name = phase.net or self.config.net
        if name not in self._nets:
            self._nets.clear()
            self._nets[name] = build(self.config, name, len(self.segments.classes), self.inside)
            self._fresh = self._nets[name].state_dict()
        return self._nets[name]

    def _task(self, phase: Phase, net: Network) -> Task:
        return self._forcing(phase) if phase.name == FORCED else self._classification(phase, net)

    def _random(self, phase: Phase) -> dict[str, Any]:
        """What a task needs to know of chance: seed, and whether an epoch draws variants."""
        draw = self.config.augment > 0 and self.config.augment_epoch == "draw"
        return {"seed": (self.config.seed, STREAMS[phase.name]), "draw": draw}

    def _forcing(self, phase: Phase) -> Forcing:
        target, size = forcing_target(self.config, self.segments, self.train), self.config.forcing_batch_size
        return Forcing(self.segments, self.train, self.valid, target, batch_size=size, **self._random(phase))

    def _classification(self, phase: Phase, net: Network) -> Classification:
        config = self.config
        return Classification(
            self.segments,
            self.train,
            self.valid,
            feature_of(net),
            self.norm,
            batch_size=config.batch_size,
            balanced=config.balanced,
            dropout_seed=dropout_seed(config, phase.name),
            mixup=config.mixup,
            **self._random(phase),
        )

    def _start(self, phase: Phase, net: Network) -> None:
        weights = start_weights(phase, {name: self._fresh[name] for name in {**net.params, **net.buffers}}, self.best)
        net.load_state_dict(weights)

    def _load_best(self, phase: Phase, net: Network) -> None:
        self._start(phase, net)
        net.load_state_dict(self.best[phase.name], strict=False)

    def _train(self, phase: Phase, whole: Network, stop: Stop) -> dict[str, Any]:
        """Train one phase, or find it trained; its best weights are in `best` afterwards."""
        stored = self.folder.load_best(phase.name)
        if stored is not None:
            self.best[phase.name], about = stored
            return about
        config, name = self.config, phase.name
        net = whole.front() if name == FORCED else whole
        freeze_for(net, phase)
        self._start(phase, net)
        task = self._task(phase, net)
        epochs = config.epochs_of(name)
        trainer = Trainer(
            net,
            task,
            Updates(config, name, epochs * task.steps),
            title=phase.title,
            epochs=epochs,
            dropout_seed=dropout_seed(config, name),
            patience=config.forcing_patience if name == FORCED else config.patience,
            grad_norms=config.grad_norms,
            listener=_Reporter(name, self.folder, self.screen),
        )
        unfinished = self.folder.load_state(name)
        if unfinished is not None:
            trainer.restore(*unfinished)
        sizes = {name: a.nbytes for name, a in {**whole.params, **whole.buffers}.items()}
        self.folder.check_room(sum(sizes[name] for name in trainer.trained), sum(sizes.values()))
        self.folder.cut_metrics(name, trainer.state.epoch - 1)
        self.screen.begin(phase.title, epochs, task.steps, trainer.state)
        try:
            trainer.run(stop)
        finally:
            self.screen.end()
        self.best[name] = trainer.best
        about = {"best_epoch": trainer.state.best_epoch, **trainer.state.best_valid}
        self.folder.save_best(name, trainer.best, about)
        return about

    def _scores(self, phase: Phase, net: Network, stop: Stop) -> dict[str, Any]:
        seed = dropout_seed(self.config, phase.name)
        probs = probabilities(
            net, self.segments, self.test, feature_of(net), self.norm, dropout_seed=seed, checkpoint=stop.check
        )
        of_test = self.segments.label[self.test], self.segments.clip[self.test], self.segments.classes
        self.folder.save_predictions(self.segments.classes, metrics.clip_rows(probs, *of_test, self.segments.clips))
        return metrics.scores(probs, *of_test)

    def _forced(self, phase: Phase, net: Network, stop: Stop) -> dict[str, Any]:
        """How far a forced front end is from the test fold's spectrograms: the mean square in the target's units, and
        its root in dB. And what its network makes of the validation fold, as no class chose its best epoch.
        """
        valid = self._classification(phase, net).validate(net, stop.check)
        forcing = self._forcing(phase)
        error = forcing.error(net.front(), self.test, stop.check)
        return {
            **{name: valid[name] for name in ("valid_accuracy", "valid_balanced_accuracy")},
            "mean_square_error": error,
            "decibels": float(np.sqrt(error)) * forcing.norm.scale,
        }


class _Reporter(Listener):
    """Epochs into metrics.jsonl and onto the screen, states into the checkpoint."""

    def __init__(self, phase: PhaseName, folder: RunFolder, screen: Screen) -> None:
        self.phase, self.folder, self.screen = phase, folder, screen

    def step(self, state: State) -> None:
        self.screen.step(state)

    def epoch(self, row: dict[str, Any], best: bool) -> None:
        self.folder.append({"phase": self.phase, **row})
        self.screen.epoch(row, best)

    def checkpoint(self, save: Any) -> None:
        self.folder.save_state(self.phase, *save())


def summary(phase: Phase, scores: dict[str, Any]) -> str:
    """One line on a finished phase."""
    off = f"{scores['decibels']:.1f} dB off the spectrograms in test, " if phase.name == FORCED else ""
    return (
        f"{phase.title} done: best epoch {scores['best_epoch']}, {off}"
        f"balanced accuracy {scores['valid_balanced_accuracy']:.3f} in validation, "
        f"{scores['segment_balanced_accuracy']:.3f} in test"
    )
