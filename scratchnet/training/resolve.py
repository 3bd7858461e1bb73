"""From the words of the command line, a TOML file or config.json to a checked `Config`: a preset, and what differs."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scratchnet.errors import InputError, check_utf8, nearest
from scratchnet.nets import RIVALS
from scratchnet.training.config import OF_A_PHASE, PATHS, Config, default, kinds, option
from scratchnet.training.conflicts import conflicts
from scratchnet.training.files import read_toml
from scratchnet.training.presets import PRESETS, PRESETS_OF_NET


def convert(name: str, value: Any, *, where: str | None = None) -> Any:
    """`value` (a string of the command line, or what TOML or JSON gave) as setting `name` wants it, checked.

    Raises `InputError` naming the setting, the value and what would be right.
    """
    label = where or option(name)
    kind, optional = kinds()[name]
    meta = Config.__dataclass_fields__[name].metadata
    if optional and (value is None or (isinstance(value, str) and value.lower() == "none")):
        return None
    result = _as(kind, value)
    if result is None:
        words = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}[kind]
        raise InputError(f"{label}: {value!r} is not {words}" + (" or none" if optional else ""))
    if kind is str:
        check_utf8([result], label)
        result = os.path.expanduser(result) if name in PATHS else result
    if meta["choices"] and result not in meta["choices"]:
        hint = nearest(str(result), meta["choices"])
        raise InputError(f"{label}: unknown value {result!r}{hint} (one of {', '.join(meta['choices'])})")
    if meta["check"] and not meta["check"][0](result):
        raise InputError(f"{label}: {value} must be {meta['check'][1]}")
    if kind is int and result >= (most := 2**63 if name == "seed" else 2**31):
        raise InputError(f"{label}: {value} must be under {most}")
    return result


def _as(kind: type, value: Any) -> Any:
    """`value` as `kind`, or None where it is none of that kind."""
    if kind is bool:
        return value if isinstance(value, bool) else {"true": True, "false": False}.get(str(value).lower())
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if kind is str:
        return value if isinstance(value, str) and value and "\0" not in value else None
    try:
        number = kind(value)
    except (ValueError, OverflowError):
        return None
    exact = math.isfinite(number) if kind is float else isinstance(value, str) or number == value
    return number if exact else None


def from_toml(path: str | Path) -> dict[str, Any]:
    """Differences stated by a TOML file, names checked: `net = "mstnet"`, `lr = 0.005`, `top_db = "none"`.

    Raises `InputError` for a missing file, bad TOML, an unknown name.
    """
    return check_names(read_toml(path), where=f"--config {path}")


def check_names(table: Mapping[str, Any], *, where: str) -> dict[str, Any]:
    """Names of `table` as settings (dashes allowed, `cv = true` for `split = "cv"`), or `InputError`."""
    known: dict[str, Any] = {}
    for key, value in table.items():
        name = key.replace("-", "_")
        if name in known:
            raise InputError(f"{where}: {name} is given twice")
        if isinstance(value, Mapping):
            raise InputError(f"{where}: settings stand under no heading: leave out [{key}]")
        if name not in kinds() and name != "cv":
            raise InputError(f"{where}: unknown setting {key!r}{nearest(name, kinds())}")
        known[name] = value
    if convert("strict", known.pop("cv", False), where=f"{where}: cv"):
        if known.get("split", "cv") != "cv":
            raise InputError(f"{where}: cv and split = {known['split']!r} contradict each other")
        known["split"] = "cv"
    return known


def resolve(*differences: tuple[Mapping[str, Any], str | None]) -> Config:
    """The configuration from layers of `(differences, where they come from)`, later ones winning, upon their preset.

    `where` None stands for the command line. Raises `InputError` for a value that no run could use.
    """
    given: dict[str, Any] = {}
    origin: dict[str, tuple[int, str | None]] = {}
    for layer, (table, where) in enumerate(differences):
        checked = check_names(table, where=where or "command line")
        given |= {name: convert(name, value, where=where and f"{where}: {name}") for name, value in checked.items()}
        origin |= {name: (layer, where) for name in checked}
    for name in (name for name in OF_A_PHASE if given.get(name) is not None):
        for one in (one for one in given if one in OF_A_PHASE[name]):
            if origin[one][0] >= origin[name][0]:  # one of an earlier layer is overridden; this one would be lost
                where = origin[one][1]
                said = f"{option(name)} {given[name]}" if origin[name][1] is None else f"{name} = {given[name]}"
                words = f"{said} is that of every phase; leave one of the two out"
                raise InputError(f"{where}: {one}: {words}" if where else f"{option(one)}: {words}")
    preset = given.get("preset", default("preset"))
    net = given.get("net", PRESETS[preset].get("net", default("net")))
    settings = PRESETS[preset] | PRESETS_OF_NET.get((preset, net), {})
    if net in RIVALS:
        settings["back_end"] = net
    config = Config(**(settings | given))
    for name, words in conflicts(config, {name: where for name, (_, where) in origin.items()}):
        _, where = origin.get(name, (0, None))
        raise InputError(f"{where}: {words}" if where else words)
    return config


def from_dict(table: Mapping[str, Any], *, where: str = "config.json") -> Config:
    """The configuration that `to_dict` wrote. Raises `InputError` for names or values of another version."""
    names = check_names(table, where=where)
    return Config(**{name: convert(name, value, where=f"{where}: {name}") for name, value in names.items()})
