"""The console command and the modules."""

import subprocess
import sys
from pathlib import Path

import pytest

from scratchnet import cli
from tests.cli.conftest import fails

ROOT = Path(__file__).resolve().parents[2]


def test_the_command_knows_its_commands(capsys):
    fails(capsys, cli.main, ["trian"], "trian", "did you mean train?")
    assert cli.main([]) == 0
    assert "gradcheck" in capsys.readouterr().out
    fails(capsys, cli.main, ["train", "--net", "x"], "--net")
    with pytest.raises(SystemExit) as left:
        cli.main(["train", "--help"])
    assert left.value.code == 0
    assert "--lr-final" in capsys.readouterr().out


def test_a_process_of_its_own_leaves_with_the_status(tmp_path):
    def run(*arguments):
        return subprocess.run(
            [sys.executable, "-m", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )

    for module in (["scratchnet", "train"], ["scratchnet.train"]):
        done = run(*module, "--data", str(tmp_path))
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.count("\n") == 1
        assert str(tmp_path) in done.stderr
