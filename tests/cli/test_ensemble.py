"""`predict` with all models of a cross-validation."""

import json
import shutil

import numpy as np
import pytest

import scratchnet
from scratchnet import onnx_export, predict, train
from scratchnet.model import Model
from tests.cli.conftest import QUICK, RATE, fails, tone


def test_a_cross_validation_predicts_with_the_mean_of_its_folds(cache, tree, tmp_path, capsys):
    out, sound = tmp_path / "cv", str(tree / "low" / "low-a.wav")
    assert train.main([*QUICK, "--epochs", "1", "--data", str(tree), "--out", str(out), "--cv", "--quiet"]) == 0
    each = [scratchnet.load(out / f"fold{k}").predict(sound) for k in range(1, 6)]
    together = scratchnet.load(out)
    heard, (names, shares) = together.predict(sound), together.predict(tone("low", 0).astype(np.float32), RATE)
    np.testing.assert_allclose(heard.segment_probabilities, np.mean([p.segment_probabilities for p in each], axis=0))
    np.testing.assert_allclose(heard.probabilities, heard.segment_probabilities.mean(axis=0))
    assert names == each[0].classes and shares.sum() == pytest.approx(1) and repr(together).startswith("Ensemble(5 of")
    assert len({p.probability for p in each}) == 5  # models of their own
    capsys.readouterr()
    assert predict.main([str(out), sound, "--backend", "cpu", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["probability"] == pytest.approx(heard.probability)
    # A finished one that lost a fold is refused; of an unfinished one the finished folds are heard, and that is said.
    (out / "fold2").rename(tmp_path / "elsewhere")
    fails(capsys, predict.main, [out, sound, "--backend", "cpu"], out / "fold2")
    (out / "result.json").unlink()
    assert predict.main([str(out), sound, "--backend", "cpu"]) == 0
    assert f"{out}: not finished, its models are those of folds 1, 3, 4, 5; go on with" in capsys.readouterr().err
    for k in (1, 3, 4, 5):
        (out / f"fold{k}" / "result.json").unlink()
    fails(capsys, predict.main, [out, sound, "--backend", "cpu"], "no fold of this cross-validation is finished")
    fails(capsys, onnx_export.main, [out], "name one of its folds")


def test_one_model_needs_no_settings(trained, tmp_path):
    """What it needs is in model.safetensors: a config.json that is damaged, or of another version, is not asked."""
    for text in (None, "{", '{"a setting of another version": 1}'):
        folder = tmp_path / str(text is None) / str(len(text or ""))
        folder.mkdir(parents=True)
        shutil.copy(trained / "model.safetensors", folder)
        if text is not None:
            (folder / "config.json").write_text(text)
        assert isinstance(scratchnet.load(folder), Model)
