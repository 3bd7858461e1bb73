"""`python -m scratchnet.train`: train a network; without options, HeuriNet on synthetic city sounds in four phases."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from scratchnet.cli import Parser, guard
from scratchnet.errors import InputError
from scratchnet.nets import NETS
from scratchnet.training.config import Config, default, kinds, option
from scratchnet.training.conflicts import idle
from scratchnet.training.presets import PRESETS, PRESETS_OF_NET
from scratchnet.training.resolve import convert, from_toml, resolve

MAIN = {"data", "subset", "net", "init", "phase0", "preset", "backend", "epochs", "batch_size", "lr", "seed"}
MAIN |= {"test_fold", "valid_fold", "out", "strict", "quiet"}
METAVAR = {
    "data": "FOLDER",
    "out": "DIR",
    "phase0": "RUN",
    "test_fold": "K",
    "valid_fold": "K",
    "epochs": "N",
    "batch_size": "N",
}


def parser() -> Parser:
    """The options: every setting of `Config`, and three that are about them."""
    made = Parser(
        prog="python -m scratchnet.train",
        usage="python -m scratchnet.train [--data FOLDER] [--net NET] [--preset PRESET] [OPTION …]",
        description="Train a sound classifier. Without options: HeuriNet, in the paper's four phases, on synthetic "
        "city sounds that are made on first use.",
        argument_default=argparse.SUPPRESS,
    )
    first = made.add_argument_group("main options")
    more = made.add_argument_group(
        "more settings", "every setting may also be a line of a --config file: lr_final = 0.001"
    )
    for setting in fields(Config):
        _add(first if setting.name in MAIN else more, setting.name, setting.metadata)
    first.add_argument("--cv", action="store_true", help="test on every fold in turn (--split cv)")
    first.add_argument("--config", metavar="FILE.toml", help="settings that differ from the preset")
    first.add_argument("--resume", metavar="DIR", help="go on with an interrupted run")
    return made


def _add(group: Any, name: str, meta: Any) -> None:
    kind, _ = kinds()[name]
    words = f"{meta['help']} ({_defaults(name)})".replace("%", "%%")
    if kind is bool:
        group.add_argument(option(name), action=argparse.BooleanOptionalAction, help=words)
        return
    # Values stay strings here: `resolve.convert` checks those of the command line, of TOML and of config.json alike.
    metavar = "|".join(meta["choices"]) or METAVAR.get(name, {int: "N", float: "X", str: "WORD"}[kind])
    group.add_argument(option(name), metavar=metavar, help=words)


def _defaults(name: str) -> str:
    """A setting's default, or what it is with each preset, which may treat a network in a way of its own."""

    def word(value: Any) -> str:
        if isinstance(value, bool):
            return "on" if value else "off"
        return "none" if value is None else str(value)

    unasked = default(name)
    values = {preset: table.get(name, unasked) for preset, table in PRESETS.items()}
    if len(set(values.values())) == 1:
        values = {"default": unasked}
    for net in NETS:
        own = {preset: table[name] for (preset, its), table in PRESETS_OF_NET.items() if its == net and name in table}
        alike = len(own) == len(PRESETS) and len(set(own.values())) == 1
        values |= {net: own["quick"]} if alike else {f"{preset} with {net}": value for preset, value in own.items()}
    return ", ".join(f"{where}: {word(value)}" for where, value in values.items())


@guard
def main(argv: Sequence[str] | None = None) -> int:
    """Train; returns the exit status."""
    given = vars(parser().parse(argv))
    paths = given.pop("config", None), given.pop("resume", None)
    toml, folder = (path and os.path.expanduser(path) for path in paths)
    if given.pop("cv", False):
        given["split"] = "cv"
    from scratchnet.training import run

    if folder is not None:
        run.resume(Path(folder), _changes(given, toml, folder))
        return 0
    layers: list[tuple[dict[str, Any], str | None]] = [(given, None)]
    if toml is not None:
        layers.insert(0, (from_toml(toml), f"--config {toml}"))
    config = resolve(*layers)
    if (words := idle(config, given)) is not None:  # in a file they may be for other runs
        raise InputError(words)
    run.start(config)
    return 0


def _changes(given: dict[str, Any], toml: str | None, folder: str) -> dict[str, Any]:
    """Options beside --resume, or `InputError` where one would change the result."""
    from scratchnet.training.run import MAY_CHANGE

    words = {"split": "--cv"} if given.get("split") == "cv" else {}
    fixed = [words.get(name, option(name)) for name in given if name not in MAY_CHANGE] + (["--config"] if toml else [])
    if fixed:
        raise InputError(f"{fixed[0]}: --resume {folder} goes on with the settings it began with; leave the option out")
    return {name: convert(name, value) for name, value in given.items()}


if __name__ == "__main__":
    sys.exit(main())
