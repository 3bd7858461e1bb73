"""What a run says: a progress bar on a terminal, plain lines elsewhere, the result alone when quiet."""

from __future__ import annotations

import os
import sys
from typing import Any

from scratchnet.training.loop import State
from scratchnet.training.stop import Interrupted

SHORT = "{desc} {percentage:3.0f}%|{bar}|{elapsed}<{remaining}{postfix}"  # with what is learned, in 80 columns


class Screen:
    """Talks to standard output; the bar, which only a terminal sees, goes to standard error. `closed`: what is raised
    where nobody listens any more; what has to be stopped in order is interrupted."""

    def __init__(self, quiet: bool = False, closed: type[BaseException] = Interrupted) -> None:
        self.quiet = quiet
        self._closed = closed
        streams = sys.stdout, sys.stderr  # None where they were closed from the start
        self.terminal = not quiet and all(stream is not None and stream.isatty() for stream in streams)
        self._bar: Any = None
        self._title, self._epochs, self._steps = "", 0, 0
        self._last: dict[str, Any] | None = None

    def say(self, text: str, *, always: bool = False) -> None:
        """A line, above the bar where there is one; `always`: also when quiet."""
        if self.quiet and not always:
            return
        try:
            if self._bar is not None:
                self._bar.write(text, file=sys.stdout)
            else:
                print(text, flush=True)
        except BrokenPipeError:  # `… | head`: nobody listens any more, which is Ctrl-C's other way
            silence()
            raise self._closed from None

    def progress(self, text: str, total: int, unit: str, done: int = 0, bar_format: str | None = None) -> None:
        """Open a bar of `total` units."""
        self.close()
        if self.terminal:
            from tqdm import tqdm

            how: dict[str, Any] = {"leave": False, "dynamic_ncols": True, "bar_format": bar_format}
            self._bar = tqdm(total=total, initial=done, desc=text, unit=unit, **how)

    def advance(self, done: int) -> None:
        """Set the bar to `done`."""
        if self._bar is not None:
            self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    # -- a phase

    def begin(self, title: str, epochs: int, steps: int, state: State) -> None:
        """A phase begins, or goes on at `state`."""
        self._title, self._epochs, self._steps = title, epochs, steps
        done = (state.epoch - 1) * steps + state.batch
        if done:
            where = f"mini-batch {state.batch + 1} of {steps}" if state.batch < steps else "validation"
            self.say(f"{title}: going on at epoch {state.epoch}, {where}")
        self.progress(title, epochs * steps, "batch", done, SHORT)

    def step(self, state: State) -> None:
        """Mini-batches were learned."""
        if self._bar is not None:
            words = f"epoch {state.epoch}/{self._epochs} loss {state.loss / state.seen:.3f}"
            if state.correct:
                words += f" train {state.correct / state.seen:.1%}"
            self._bar.set_postfix_str(words + self._valid(), refresh=False)
            self.advance((state.epoch - 1) * self._steps + state.batch)

    def _valid(self) -> str:
        if self._last is None or self._last["valid_balanced_accuracy"] is None:
            return ""
        return f" valid {self._last['valid_balanced_accuracy']:.1%}"

    def epoch(self, row: dict[str, Any], best: bool) -> None:
        """An epoch ended."""
        self._last = row
        if not self.terminal:
            self.say(epoch_line(self._title, self._epochs, row, best))

    def end(self) -> None:
        """The phase ended."""
        self._last = None
        self.close()


def silence() -> None:
    """Write standard output to nowhere: a closed pipe must not be told of when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def epoch_line(title: str, epochs: int, row: dict[str, Any], best: bool) -> str:
    """One epoch in one line."""
    words = [f"{title} epoch {row['epoch']}/{epochs}:", f"loss {row['train_loss']:.4f}"]
    if row["train_accuracy"] is not None:
        words += [f"train {row['train_accuracy']:.1%}", f"valid {row['valid_accuracy']:.1%}"]
        words += [f"balanced {row['valid_balanced_accuracy']:.1%}"]
    else:
        words += [f"valid loss {row['valid_loss']:.5f}"]
    return " ".join([*words, f"({row['seconds']:.1f} s)", "best" if best else ""]).rstrip()
