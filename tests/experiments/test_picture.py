"""The README's picture shows the networks as they are."""

import numpy as np
import pytest

from experiments import picture
from scratchnet import backend
from scratchnet.nets import heurinet, melnet, mstnet


@pytest.fixture(autouse=True)
def definitions():
    before = backend.current()
    backend.use("reference")
    yield
    backend.use(before)


def test_stages_are_tables_1_and_2_and_the_mel_transform():
    x = np.zeros((1, 1, 20992), np.float32)
    assert picture.stages(heurinet(), "deepfourier", x) == [
        ("conv 155\nstride 10\nReLU", (80, 2084)),
        ("max-pool 9\nstride 3", (80, 692)),
        ("conv 15\nstride 4\nReLU", (60, 170)),
        ("max-pool 9\nstride 4", (60, 41)),
    ]
    assert picture.stages(mstnet(), "deepfourier", x) == [
        ("conv 1024\nstride 512\nReLU", (512, 41)),
        ("conv 3\nReLU", (256, 41)),
        ("conv 3\nTanh", (60, 41)),
    ]
    assert picture.stages(melnet(), "deepfourier", x) == [
        ("conv 1024\nstride 512\nModulus", (513, 41)),
        ("conv 1\nDecibel", (60, 41)),
    ]


def test_a_picture_of_another_kind_is_drawn_or_refused_in_a_line(tmp_path, capsys):
    (tmp_path / "folder.png").mkdir()
    for name in ("idea.xyz", "idea", "folder.png"):
        assert picture.main(["--out", str(tmp_path / name)]) == 2
        assert capsys.readouterr().err.startswith(f"scratchnet: --out {tmp_path / name}: ")
    assert picture.main(["--out", str(tmp_path / "idea.svg")]) == 0
    assert "<svg" in (tmp_path / "idea.svg").read_text()


def test_picture_is_drawn(tmp_path):
    import matplotlib.image

    assert picture.main(["--out", str(tmp_path / "pictures" / "idea.png")]) == 0
    drawn = matplotlib.image.imread(tmp_path / "pictures" / "idea.png")
    committed = matplotlib.image.imread(picture.PICTURE)
    assert drawn.shape == committed.shape
    # Fonts and lines may differ by a pixel's shade between versions of Matplotlib; what is drawn may not.
    assert np.abs(drawn - committed).mean() < 0.02
