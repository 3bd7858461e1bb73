"""The command `scratchnet`, and what all commands share: one line for what went wrong, and the exit status.

0 done, 1 a gradient is wrong (`gradcheck`), 2 bad input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import functools
import io
import re
import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn, ParamSpec

from scratchnet import __version__
from scratchnet.errors import InputError, nearest, say

COMMANDS = {
    "train": "train a network",
    "evaluate": "test a trained network again",
    "predict": "say what sounds in audio files",
    "gradcheck": "check every gradient against finite differences",
    "onnx_export": "write a trained network as an ONNX file",
}
PLAIN = "\0"  # no argument of a command can have it
P = ParamSpec("P")


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one line, with the nearest option that there is."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")  # argparse's lacks exponents

    def error(self, message: str) -> NoReturn:
        """Raise `InputError` instead of leaving the process."""
        raise InputError(f"{message} ({self.prog} --help lists all options)")

    def parse(self, argv: Sequence[str] | None) -> argparse.Namespace:
        """Arguments, those without a dash before or behind the others; or `InputError`."""
        words = sys.argv[1:] if argv is None else list(argv)
        self._refuse_empty(words)
        if "--" in words:  # which argparse would lose: what stands behind it is no option, whatever it begins with
            at = words.index("--")
            words[at:] = [f"{PLAIN}{word}" for word in words[at + 1 :]]
        try:
            arguments, unknown = self.parse_known_intermixed_args(words)
        except InputError as error:
            strange = [word for word in words if self._is_unknown_option(word)]
            if str(error).startswith("the following arguments are required") and strange:
                self.unknown(strange[0])
            raise
        if unknown:
            self.unknown(_plain(unknown[0]))
        return argparse.Namespace(**{name: _plain(value) for name, value in vars(arguments).items()})

    def _refuse_empty(self, words: list[str]) -> None:
        """An unset variable in a script: as a path it would be the folder that one is in."""
        options = words[: words.index("--")] if "--" in words else words
        for before, word in zip(["", *words], words):
            if word == "" or (word in options and word.startswith("--") and word.find("=") == len(word) - 1):
                option = word[:-1] or (before if before.startswith("--") and before != "--" else "an argument")
                self.error(f"{option} is empty")

    def _is_unknown_option(self, word: str) -> bool:
        known = word.split("=")[0] in self._option_string_actions
        return word.startswith("-") and word != "-" and not (known or self._negative_number_matcher.match(word))

    def unknown(self, word: str) -> NoReturn:
        """Raise `InputError` for a word that is no argument here."""
        word = word.split("=")[0]
        if not word.startswith("-"):
            self.error(f"unexpected argument {word!r}")
        self.error(f"unknown option {word}{nearest(word, self._option_string_actions)}")


def add_backend(parser: argparse._ActionsContainer) -> None:
    """The option `--backend`, which `backend.use` takes."""
    parser.add_argument("--backend", default="auto", metavar="auto|cuda|cpu|reference", help="where to compute")


def add_threads(parser: argparse._ActionsContainer) -> None:
    """The option `--threads`, which `resolve.convert` checks."""
    parser.add_argument("--threads", metavar="N", help="CPU threads (default: all cores)")


def _plain(value: Any) -> Any:
    """A value without the mark of what stood behind --."""
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, str | Path):
        return type(value)(str(value).removeprefix(PLAIN))
    return value


def guard(command: Callable[P, int]) -> Callable[P, int]:
    """A command, which returns its exit status: what a user can mend becomes one line on standard error."""

    @functools.wraps(command)
    def guarded(*args: P.args, **more: P.kwargs) -> int:
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # a name, or a ±, that the terminal has no letters for
                stream.reconfigure(errors="backslashreplace")
        try:
            with warnings.catch_warnings():
                # A training that diverges says so itself, in one line.
                warnings.simplefilter("ignore", RuntimeWarning)
                return command(*args, **more)
        except KeyboardInterrupt as error:
            return fail(str(error) or "interrupted", 130)
        except BrokenPipeError:  # `scratchnet predict … | head`
            from scratchnet.training.screen import silence

            silence()
            return 0
        except Exception as error:
            if (words := _mendable(error)) is None:
                raise
            return fail(words, 2)

    return guarded


def _mendable(error: Exception) -> str | None:
    """What a user has to know of an error, or None where it is a mistake of ours."""
    if isinstance(error, InputError):
        return str(error)
    if isinstance(error, MemoryError):
        words = "close other programs, or take less at a time: a smaller --batch-size in training, shorter recordings"
        return f"not enough memory ({error}): {words}"
    if isinstance(error, UnicodeEncodeError) and "\udc80" <= error.object[error.start] <= "\udcff":
        around = error.object[max(0, error.start - 40) : error.end + 10]  # what Python makes of bytes that are no UTF-8
        return f"a name is not UTF-8 (in {around!r}); rename it"
    if isinstance(error, OSError) and not (error.filename is None and error.strerror is None):
        return f"{error.filename or 'the system'}: {error.strerror}"
    if isinstance(error, RuntimeError) and "no locator available" in str(error):
        words = "name a folder in the environment variable NUMBA_CACHE_DIR"
        return f"Numba has no place for the kernels that it compiles: {words}"
    return None


def fail(message: str, status: int) -> int:
    """Print it as one line on standard error; returns the exit status."""
    say(" ".join(part.strip() for part in message.splitlines()))
    return status


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """`scratchnet COMMAND …`; returns the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = Parser(
        prog="scratchnet",
        description="Sound classification from the raw waveform, every layer and gradient written by hand.",
        epilog="run scratchnet COMMAND --help for a command's options",
    )
    parser.add_argument("--version", action="version", version=f"scratchnet {__version__}")
    lines = "; ".join(f"{name}: {text}" for name, text in COMMANDS.items())
    parser.add_argument("command", metavar="COMMAND", help=lines)
    if not words or words == ["help"]:
        parser.print_help()
        return 0
    if words[0] in COMMANDS:
        module = import_module(f"scratchnet.{words[0]}")
        return module.main(words[1:])
    name = parser.parse(words[:1]).command
    raise InputError(f"unknown command {name!r}{nearest(name, COMMANDS)} (one of {', '.join(COMMANDS)})")


if __name__ == "__main__":
    sys.exit(main())
