"""Two small runs that every figure is drawn from: ten classes, three clips each, one epoch a phase."""

from contextlib import redirect_stdout
from io import StringIO

import pytest

from scratchnet import train
from scratchnet.data import synthetic


@pytest.fixture(scope="session")
def figure_data(tmp_path_factory):
    """Three folds of the synthetic sounds, in UrbanSound8K's layout; and a cache of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SCRATCHNET_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield synthetic.make(tmp_path_factory.mktemp("sounds") / "city", clips_per_class=3)


def trained(data, out, *options):
    given = ["--backend", "cpu", "--data", str(data), "--epochs", "1", "--batch-size", "8", "--grad-norms", "--quiet"]
    with redirect_stdout(StringIO()):
        assert train.main([*given, "--out", str(out), *options]) == 0
    return out


@pytest.fixture(scope="session")
def runs(figure_data, tmp_path_factory):
    """A folder of two finished runs."""
    folder = tmp_path_factory.mktemp("runs")
    trained(figure_data, folder / "heurinet")
    trained(figure_data, folder / "mstnet", "--net", "mstnet")
    return folder


@pytest.fixture
def draw(tmp_path, capsys):
    """Runs a figure's command; returns the picture, what was printed, or (status 2) the one line of complaint."""

    def call(main, *arguments, status=0):
        import matplotlib.image

        out = tmp_path / "pictures" / "figure.png"
        assert main([*map(str, arguments), "--out", str(out)]) == status
        said = capsys.readouterr()
        if status:
            assert len(said.err.splitlines()) == 1, said.err
            return said.err
        assert str(out) in said.out
        image = matplotlib.image.imread(out)[..., :3]
        assert (image < 0.99).any(axis=2).mean() > 0.01  # not blank
        assert image[:2].min() == image[-2:].min() == image[:, :2].min() == 1, "something is cut off"
        return image, said.out

    return call
