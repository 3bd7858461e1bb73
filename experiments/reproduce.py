"""Every experiment, one command:   python -m experiments.reproduce --data PATH [--scale paper|short|tiny]

Trains every system of `experiments.studies` on every fold and seed, then writes tables, tests and figures. A finished
run (its folder has a result.json) is never repeated, an interrupted one goes on where it stopped, one that fails does
not stop the others: the same command again does what is left.
"""

from __future__ import annotations

import gc
import sys
import traceback
from collections.abc import Callable, Container, Generator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from experiments.beside import Child, side_by_side
from experiments.estimate import Estimate
from experiments.studies import SCALES, STUDIES, Job, Study, choose, jobs, seeds
from experiments.table import minutes
from scratchnet import backend
from scratchnet.cli import Parser, add_backend, guard
from scratchnet.data import Segments
from scratchnet.data.source import names_digest
from scratchnet.data.split import check_folds
from scratchnet.errors import InputError
from scratchnet.interrupt import as_ctrl_c
from scratchnet.sound import SoundSettings
from scratchnet.training import dataset, run
from scratchnet.training.config import Config, default, option
from scratchnet.training.files import read_json, write_json
from scratchnet.training.phase0 import stands_for
from scratchnet.training.report import line
from scratchnet.training.resolve import convert
from scratchnet.training.runfolder import CONFIG, RunFolder
from scratchnet.training.screen import Screen

ABOUT = "experiments.json"  # in OUT: what its runs have in common
ASKED = ("subset", "split", "seeds")  # options that change what a scale says
FAILED = "failed.txt"  # in a run's folder: why it failed


def parser() -> Parser:
    """The options."""
    made = Parser(prog="python -m experiments.reproduce", description="Run every experiment of the paper.")
    made.add_argument("--data", metavar="FOLDER", help="recordings; none: the synthetic urban sounds")
    made.add_argument("--subset", metavar="esc10", help="part of the data set: esc10 of an ESC-50 folder")
    scales = "; ".join(f"{name}: {scale.about}" for name, scale in SCALES.items())
    made.add_argument("--scale", default="short", metavar="|".join(SCALES), help=f"effort (default short). {scales}")
    made.add_argument("--only", action="append", metavar="STUDY", help="this study alone; may be given again")
    made.add_argument("--out", metavar="DIR", help="where all goes; none: runs/reproduce-DATA-SCALE[-SPLIT]")
    made.add_argument("--seeds", type=int, metavar="N", help="seeds 0 to N-1 of every system, whatever the scale says")
    made.add_argument("--split", metavar="single|cv", help="test on the last fold, or on every fold in turn")
    add_backend(made)
    made.add_argument("--threads", metavar="N", help="CPU threads; none: all cores")
    made.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="runs at a time, each on its share of the threads"
    )
    made.add_argument("--no-noise", action="store_true", help="leave the tests in noise out")
    made.add_argument("--list", action="store_true", help="print the studies and their questions")
    made.add_argument("--plan", action="store_true", help="print what is to do and how long it will take")
    made.add_argument("--quiet", action="store_true", help="print one line a run and nothing else")
    return made


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Run the experiments; returns the exit status: 1 where a run failed."""
    options = parser().parse(argv)
    if options.list:
        for name, study in STUDIES.items():
            print(f"{name:<12} {study.question}")
        return 0
    if options.scale not in SCALES:
        raise InputError(f"--scale {options.scale}: unknown (one of {', '.join(SCALES)})")
    if options.seeds is not None and options.seeds < 1:
        raise InputError(f"--seeds {options.seeds}: at least 1")
    if options.jobs < 1:
        raise InputError(f"--jobs {options.jobs}: at least 1")
    studies = choose(options.only)
    asked = {name: getattr(options, name) for name in ("subset", "split", "backend", "threads")}
    changes = {name: value for name, value in asked.items() if value is not None}
    if options.data is not None and (data := convert("data", options.data)) is not None:
        changes["data"] = str(Path(data).resolve())
    plan = list(jobs(studies, options.scale, options.seeds, changes))
    try:
        return _reproduce(Reproduction(plan, studies, options, changes), options.plan)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("interrupted; the same command goes on where it stopped") from None


class Reproduction:
    """The runs of some studies on one data source, in one folder."""

    def __init__(self, plan: list[Job], studies: Mapping[str, Study], options: Any, changes: Mapping[str, Any]) -> None:
        self.plan, self.studies, self.scale, self.changes = plan, studies, options.scale, changes
        self.seeds = {name: seeds(study, options.scale, options.seeds) for name, study in studies.items()}
        every = jobs(STUDIES, options.scale, options.seeds, changes)
        self.back_ends = [job for job in every if job.config.is_back_end]
        self.screen, self.count, self.noise = Screen(options.quiet), options.jobs, not options.no_noise
        self.used = backend.use(plan[0].config.backend, plan[0].config.threads)
        self.source = dataset.open_data(plan[0].config, self.screen)
        self.data = dataset.called(self.source.name, plan[0].config.data)
        self.out = Path(options.out or default_out(self.data, options.scale, plan[0].config.split))
        self.command = command(options)
        self.about = {"scale": options.scale, "split": plan[0].config.split, "data": names_digest(self.source)}

    def claim(self, make: bool = True) -> None:
        """See that the folder is ours, and make it. Raises `InputError` where it holds experiments of another sort, or
        what says so is damaged.
        """
        file = self.out / ABOUT
        if file.is_file():
            way_out = "if the runs there are this command's, remove it, else name another --out"
            there = read_json(file, lambda it: isinstance(it, dict) and self.about.keys() <= it.keys(), way_out)
            for name, value in self.about.items():
                if there[name] != value:
                    what = "other data" if name == "data" else f"--{name} {there[name]}"
                    raise InputError(f"--out {self.out}: holds experiments with {what}; name another folder")
        if file.is_file() or not make:
            return
        try:
            self.out.mkdir(parents=True, exist_ok=True)
            write_json(file, {**self.about, "data_name": self.source.name})
        except OSError as error:
            raise InputError(f"--out {self.out}: cannot be written ({error.strerror})") from None

    def check_data(self) -> None:
        """Raise `InputError` where the data has too few folds, or runs here were trained on other recordings: then
        their figures would stand beside those of these."""
        check_folds(self.source.folds)
        made: dict[SoundSettings, Segments] = {}  # a setting may drop short clips, and has less data
        for job in (*self.plan, *self.back_ends):
            path, sound = self.path(job), job.config.sound()
            if not (path / CONFIG).is_file():
                continue
            if sound not in made:
                made[sound] = dataset.prepare_data(job.config.with_(augment=0), self.source, self.screen)
            try:
                same = RunFolder(path).trained_on(made[sound])
            except InputError:  # damaged: `finished` will say so
                continue
            if not same:
                raise InputError(f"--out {self.out}: {path.name} was trained on other recordings; name another folder")

    def path(self, job: Job) -> Path:
        """The run's folder."""
        return self.out / "runs" / job.name

    def finished(self, job: Job) -> bool:
        """Whether the run is done. Raises `InputError` where its folder holds a run with other settings, or a damaged
        one.
        """
        path = self.path(job)
        if not (path / CONFIG).is_file():
            return False
        folder, there = RunFolder.open(path)
        ours, theirs = (settings(config) for config in (job.config, there))
        other = [name for name in ours if ours[name] != theirs[name]]
        if other:
            raise InputError(f"{path}: holds a run with another {option(other[0])}; move it away")
        return folder.result() is not None

    def trained(self) -> set[str]:
        """The back ends whose runs are finished, with the settings that they should have."""
        names = set()
        for job in self.back_ends:
            with suppress(InputError):
                if self.finished(job):
                    names.add(job.name)
        return names

    def beginning(self, job: Job, trained: Container[str]) -> Job | None:
        """The run of the back end alone that is this one's Phase 0 already, if it is among the trained ones. Runs whose
        phases are drawn have their own, with its gradients."""
        those = () if job.keep else self.back_ends
        return next((other for other in those if other.name in trained and stands_for(other.config, job.config)), None)

    def start(self, job: Job) -> dict[str, Any]:
        """Make the run's folder if there is none; returns what it is resumed by."""
        path = self.path(job)
        if not (path / CONFIG).is_file():
            RunFolder(path).describe(job.config.with_(out=str(path)))
        begun = self.beginning(job, self.trained())
        ours = {name: getattr(job.config, name) for name in ("data", "backend", "threads")}
        return {**ours, "phase0": begun and str(self.path(begun))}

    def end(self, job: Job) -> dict[str, Any]:
        """The run is finished: the weights of earlier phases go, unless a figure will ask for them. Its result.json."""
        path = self.path(job)
        with suppress(OSError):  # then they stay
            (path / FAILED).unlink(missing_ok=True)
            for weights in [] if job.keep else path.rglob("checkpoint/phase-*.safetensors"):
                weights.unlink()
        return RunFolder(path).finished()

    def given(self, job: Job) -> float:
        """Seconds of its training that were another run's."""
        begun = self.beginning(job, self.trained())
        return RunFolder(self.path(begun)).finished()["training_seconds"] if begun is not None else 0.0


def default_out(data: str, scale: str, split: str) -> str:
    """Where a reproduction goes unasked; with another split than the scale's it is another one."""
    usual = SCALES[scale].settings.get("split", default("split"))
    return f"runs/reproduce-{data}-{scale}" + ("" if split == usual else f"-{split}")


def command(options: Any) -> str:
    """The command line that makes the same results, with PATH for the data's place."""
    words = ["python -m experiments.reproduce"]
    if options.data is not None:
        words.append("--data PATH")
    words.append(f"--scale {options.scale}")
    words += [f"--only {study}" for study in options.only or ()]
    words += [f"--{name} {value}" for name in ASKED if (value := getattr(options, name)) is not None]
    words += ["--no-noise"] if options.no_noise else []
    return " ".join(words)


def settings(config: Config) -> dict[str, Any]:
    """What decides a run's result."""
    apart = {*run.MAY_CHANGE, "out", "grad_norms"}
    return {name: value for name, value in config.to_dict().items() if name not in apart}


def _reproduce(work: Reproduction, plan_only: bool) -> int:
    work.claim(make=not plan_only)
    work.check_data()
    failed: dict[str, str] = {}
    to_do = []
    for job in work.plan:
        try:
            if not work.finished(job):
                to_do.append(job)
        except InputError as error:
            failed[job.name] = str(error)
    times = say_plan(work, to_do)
    if plan_only:
        return 0
    failed |= train_all(work, to_do, times)
    from experiments.results import write

    for what, why in write(work).items():
        failed[what] = why
    for name, why in failed.items():
        print(f"failed: {name}: {why}", flush=True)
    done = sum(job.name not in failed for job in work.plan)
    read = f"; read {work.out / 'results.md'}" if done else ""
    print(f"{done} of {len(work.plan)} runs finished{read}", flush=True)
    return 1 if failed else 0


def say_plan(work: Reproduction, to_do: list[Job]) -> dict[str, float]:
    """Print what is to do and about how long it will take; returns the estimated seconds of each run."""
    print(f"{len(work.plan)} runs for {', '.join(work.studies)}; {len(work.plan) - len(to_do)} finished already")
    if not to_do:
        return {}
    segments = dataset.prepare_data(to_do[0].config, work.source, work.screen)
    estimate = Estimate(len(segments.originals), len(work.source.folds), len(segments.classes))
    work.screen.say("timing a few mini-batches of each network")
    times: dict[str, float] = {}
    trained = work.trained()
    for job in to_do:
        begun = work.beginning(job, trained | times.keys())
        times[job.name] = estimate.seconds(job.config, begun=begun is not None)
    for job in to_do:
        print(f"  {minutes(times[job.name]):>8}  {job.name}")
    room = sum(estimate.bytes(job.config, job.keep) for job in to_do) / 1e9
    models = sum(estimate.models(job.config) for job in to_do)
    heard = f"; then tests of {models} models in noise, not in this time (--no-noise: none)" if work.noise else ""
    training = f"about {minutes(sum(times.values()))} of training on {work.used}"
    print(f"{training}, {room:.1f} GB of models, in {work.out}{heard}", flush=True)
    return times


def train_all(work: Reproduction, to_do: list[Job], times: Mapping[str, float]) -> dict[str, str]:
    """Train them; returns why each one that failed did."""
    failed: dict[str, str] = {}
    left, took, numbers = sum(times.values()), [], iter(range(1, len(to_do) + 1))

    def say(job: Job) -> None:
        pace = sum(real for real, _ in took) / sum(guess for _, guess in took) / work.count if took else 1.0
        print(f"[{next(numbers)}/{len(to_do)}] {job.name}; about {minutes(left * pace)} left", flush=True)

    with closing((one_by_one if work.count == 1 else beside)(work, to_do, say)) as ends:
        for job, said in ends:
            if said is None:
                result = work.end(job)
                took.append((result["training_seconds"] - work.given(job), times[job.name]))
                if work.count > 1:
                    print(f"{job.name}: {line(result['test'])}", flush=True)
            else:
                failed[job.name] = " ".join(said.strip().rpartition("\n")[2].split())
                print(f"failed: {job.name}: {failed[job.name]}", flush=True)
                with suppress(OSError):  # a full disk, for one
                    (work.path(job) / FAILED).write_text(said, encoding="utf-8")
            left -= times[job.name]
    return failed


Ends = Generator[tuple[Job, str | None]]


def one_by_one(work: Reproduction, to_do: list[Job], say: Callable[[Job], None]) -> Ends:
    """Train each of them here; each with what there is to say of its failure, or None."""
    for job in to_do:
        say(job)
        said = None
        try:
            run.resume(work.path(job), {**work.start(job), "quiet": work.screen.quiet})
        except Exception as error:  # whatever it is, the other runs are not to blame
            said = f"{traceback.format_exc()}\n{' '.join(str(error).split()) or type(error).__name__}"
        yield job, said
        gc.collect()  # a failed run's arrays hang on its traceback


def beside(work: Reproduction, to_do: list[Job], say: Callable[[Job], None]) -> Ends:
    """Train `work.count` of them at a time; a run waits for the one that will be its Phase 0."""
    share = max(1, backend.threads() // work.count) if work.used == "cpu" else None

    def ready(job: Job, others: list[Job]) -> bool:
        return work.beginning(job, {other.name for other in others}) is None

    def start(job: Job) -> Child:
        say(job)
        return Child(work.path(job), {**work.start(job), "threads": share, "quiet": True}, work.noise)

    with as_ctrl_c():  # so that none is left behind
        yield from side_by_side(to_do, work.count, ready, start)


if __name__ == "__main__":
    sys.exit(main())
