"""Files written whole or not at all: a run that is killed at any moment leaves only readable ones."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from scratchnet.errors import InputError

METADATA = "scratchnet"
BACKSLASHES = "a path with backslashes goes in single quotes"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A draft beside `path`, which takes its place at the end of the block, unless that fails."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield draft
        draft.replace(path)
    except OSError as error:
        if error.filename in (None, str(draft)):  # which nobody knows of
            error.filename = str(path)
        raise
    finally:
        draft.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` as a whole."""
    with whole(path) as draft:
        draft.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """`value` as indented JSON; NaN becomes null."""
    write_text(path, json_page(value))


def json_page(value: Any) -> str:
    """What `write_json` writes."""
    return json.dumps(_plain(value), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


TRAIN_AGAIN = "move the run away and train it again"


def read_json(path: Path, is_whole: Callable[[Any], bool] = lambda value: True, way_out: str = TRAIN_AGAIN) -> Any:
    """What `write_json` wrote. Raises `InputError` where it is missing, or damaged: no JSON, or not whole."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError):
        raise damaged(path, way_out) from None
    if not is_whole(value):
        raise damaged(path, way_out)
    return value


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file, with or without the mark that Windows puts first. Raises `InputError` where it is none."""
    where = f"--config {path}"
    try:
        text = Path(path).read_bytes().decode("utf-8-sig")
        table = tomllib.loads(text)
    except OSError as error:
        raise InputError(f"{where}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not TOML: {error}; save it as UTF-8") from None
    except ValueError as error:  # tomllib's own, of a number of thousands of digits
        hint = f"; {BACKSLASHES}" if "\\" in text else ""
        raise InputError(f"{where}: not TOML: {error}{hint}") from None
    for name, value in table.items():
        if isinstance(value, str) and any(ord(letter) < 32 for letter in value):
            raise InputError(f"{where}: {name}: {value!r} has control characters; {BACKSLASHES}")
    return table


def damaged(path: Path, way_out: str = TRAIN_AGAIN) -> InputError:
    """What to say of a file that is not as it was written."""
    return InputError(f"{path}: damaged; {way_out}")


def json_line(row: Mapping[str, Any]) -> str:
    """One line of a `.jsonl` file; NaN becomes null."""
    return json.dumps(_plain(row), ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """NumPy numbers and NaN as JSON knows them."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def write_table(path: Path, rows: Sequence[Sequence[Any]]) -> None:
    """A CSV file of rows, the first the names of its columns."""
    # A carriage return in a name would end the row, were it not quoted, which Python before 3.13 does not see to.
    bare = any("\r" in str(value) for row in rows for value in row)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL if bare else csv.QUOTE_MINIMAL).writerows(rows)
    write_text(path, text.getvalue())


def read_table(path: Path, columns: Sequence[str]) -> list[list[str]]:
    """The rows of a CSV file with these columns. Raises `InputError` where it is damaged, `OSError` where it is not
    given out."""
    try:
        text = path.read_bytes().decode()
        head, *rows = csv.reader(io.StringIO(text, newline=""))
    except (ValueError, csv.Error):
        raise damaged(path) from None
    if not text.endswith("\n") or head != list(columns) or not all(len(row) == len(columns) for row in rows):
        raise damaged(path)
    return rows


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """A safetensors file of `arrays`, and `metadata` as JSON: of the same arrays and metadata the same bytes.

    The library shuffles the entries of a file's metadata, so that all are one entry. Raises OSError where it cannot be
    written.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    entry = {METADATA: json.dumps(_plain(metadata), allow_nan=False)}
    with whole(path) as draft:
        try:
            save_file({name: np.asarray(a, order="C") for name, a in arrays.items()}, draft, metadata=entry)
        except SafetensorError as error:  # a full disk, for one
            raise OSError(errno.EIO, str(error), str(path)) from None
        draft.chmod(path.parent.stat().st_mode & 0o666)  # the library's own files are the owner's alone


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and metadata of a safetensors file. Raises `InputError` where it is none, or none of ours."""
    from safetensors import SafetensorError, safe_open

    try:
        with open(path, "rb"):  # of a file that may not be read safetensors says that it is not there
            pass
        with safe_open(path, framework="numpy") as file:
            entries = {name: json.loads(value) for name, value in (file.metadata() or {}).items()}
            metadata = entries.get(METADATA, entries)  # files of before have an entry for each
            if not isinstance(metadata, dict):
                raise ValueError(f"its {METADATA} is no object")
            return {name: file.get_tensor(name) for name in file.keys()}, metadata  # noqa: SIM118
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except (SafetensorError, ValueError) as error:
        raise InputError(f"{path}: no model file of scratchnet ({error})") from None
