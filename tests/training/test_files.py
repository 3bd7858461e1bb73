"""Files of a run: the same contents are the same bytes, and those of before can be read."""

import csv
import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from scratchnet.errors import InputError
from scratchnet.training.files import read_arrays, write_arrays
from scratchnet.training.runfolder import COLUMNS, RunFolder

ARRAYS = {"weight": np.arange(6, dtype=np.float32).reshape(2, 3), "bias": np.ones(2, np.float32)}
METADATA = {"format": 1, "classes": ["bark", "Möwe"], "offset": -30.5, "sound": {"n_mels": 60}, "phase": 3}


def test_the_same_weights_are_the_same_bytes(tmp_path):
    """The library writes several entries of metadata in any order: 120 of them for these."""
    path, written = tmp_path / "model.safetensors", set()
    for _ in range(8):
        write_arrays(path, ARRAYS, METADATA)
        written.add(path.read_bytes())
    assert len(written) == 1
    arrays, metadata = read_arrays(path)
    assert metadata == METADATA and arrays.keys() == ARRAYS.keys()
    assert all(np.array_equal(arrays[name], array) for name, array in ARRAYS.items())


def test_files_with_an_entry_for_each_part_of_the_metadata_are_read(tmp_path):
    save_file(ARRAYS, tmp_path / "old", metadata={name: json.dumps(value) for name, value in METADATA.items()})
    assert read_arrays(tmp_path / "old")[1] == METADATA


@pytest.mark.parametrize("name", ["plain", "a, b", 'a "b"', "line\r", "line\nline", "Möwe"])
def test_predictions_of_a_class_of_any_name_can_be_read(tmp_path, name):
    rows = [[f"{name}/1.wav", name, name, "b", 0.25, 0.75], ["b/1.wav", "b", "b", "b", 0.0, 1.0]]
    RunFolder(tmp_path).save_predictions([name, "b"], rows)
    with open(tmp_path / "predictions.csv", encoding="utf-8", newline="") as file:
        assert list(csv.reader(file)) == [[*COLUMNS, f"p({name})", "p(b)"], *[[str(v) for v in row] for row in rows]]


def test_metadata_that_is_no_object_is_refused(tmp_path):
    save_file(ARRAYS, tmp_path / "odd", metadata={"scratchnet": "[1]"})
    with pytest.raises(InputError, match="odd: no model file"):
        read_arrays(tmp_path / "odd")
