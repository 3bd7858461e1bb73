"""Files of a run: the same contents are the same bytes, and those of before can be read."""

import json

import numpy as np
from safetensors.numpy import save_file

from scratchnet.training.files import read_arrays, write_arrays

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
