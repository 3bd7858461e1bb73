"""docs/demo.ipynb runs from its first cell to its last, and says what it promises."""

import os
import re
from pathlib import Path

import pytest

REASON = "the notebook is run with nbclient and ipykernel: pip install '.[test]'"
nbformat = pytest.importorskip("nbformat", reason=REASON)
nbclient = pytest.importorskip("nbclient", reason=REASON)
pytest.importorskip("ipykernel", reason=REASON)

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "docs" / "demo.ipynb"


def read():
    return nbformat.read(DEMO, as_version=4)


def test_it_is_stored_without_outputs():
    nbformat.validate(read())
    for cell in read().cells:
        if cell.cell_type == "code":
            assert (cell.outputs, cell.execution_count) == ([], None)


def test_its_links_lead_somewhere():
    links = re.findall(r"\]\(([^)#]+)", "\n".join(c.source for c in read().cells if c.cell_type == "markdown"))
    assert links
    assert not [link for link in links if not (DEMO.parent / link).exists()]


def test_it_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the notebook keeps its sounds and its run
    monkeypatch.setenv("JUPYTER_PLATFORM_DIRS", "1")
    notebook = read()
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    said = "".join(output.text for output in outputs if output.output_type == "stream" and output.name == "stdout")
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == 6
    assert "HeuriNet, eq. 3 to 6: (80, 2084) (80, 692) (60, 170) (60, 41)" in said
    assert "MSTNet, eq. 7 to 9: (512, 41) (256, 41) (60, 41)" in said
    for words in ("as a convolution", "WRONG GRADIENT", "waveform (1, 1, 20992) → picture (1, 1, 60, 41)"):
        assert words in said
    scores = [float(score) for score in re.findall(r"^Phase \d: (\d\.\d\d) balanced", said, re.MULTILINE)]
    assert len(scores) == 4
    # Guessing gets 0.10 of ten classes right, give or take 0.06 (of 30 segments); Phase 0 has learned more than that.
    assert scores[0] > 0.3
    assert re.search(r"^audio/fold10/\S+\.wav: \w+, \d+%$", said, re.MULTILINE)
