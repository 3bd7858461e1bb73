"""What is built and installed holds the whole of the product, and the two commands of the README are there."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import scratchnet

pytest.importorskip("setuptools", "77", reason="setuptools 77 builds the packages: pip install '.[test]'")

ROOT = Path(__file__).resolve().parents[1]
NOT_SOURCE = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", ".hypothesis", "build", "dist", "*.egg-info", "__pycache__", "runs", "*.py[co]"
)
# Imports every part that lies in another folder than its name says, and tells where it was found.
PROBE = """
import scratchnet, scratchnet.errors
from scratchnet.kernels import reference
import scratchnet.kernels.cpu
import numpy
print(scratchnet.__version__, reference.relu_forward(numpy.array([-1.0, 2.0])).tolist(), reference.__file__)
"""


def run(*command, cwd):
    inherited = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    inherited["PYTHONDONTWRITEBYTECODE"] = "1"
    done = subprocess.run([*map(str, command)], cwd=cwd, env=inherited, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(kind, source, out):
    """What pip asks of setuptools: `kind` is wheel, sdist or editable. Returns the file made in `out`."""
    out.mkdir()
    call = f"import sys, setuptools.build_meta as b; print(b.build_{kind}(sys.argv[1]))"
    name = run(sys.executable, "-c", call, out, cwd=source).splitlines()[-1]
    return out / name


def probe(start, cwd):
    """Runs PROBE in a Python that reads no .pth file by itself, so that no installation of ours is seen by chance."""
    libraries = [path for path in sys.path if path.endswith("site-packages")]
    code = f"import site, sys\n{start}\nsys.path += {libraries!r}\n{PROBE}"
    version, *_, where = run(sys.executable, "-S", "-c", code, cwd=cwd).split()
    assert version == scratchnet.__version__
    return Path(where)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of the source tree, so that building leaves nothing in the checkout."""
    target = tmp_path_factory.mktemp("source") / "scratchnet"
    return shutil.copytree(ROOT, target, ignore=NOT_SOURCE)


@pytest.fixture(scope="module")
def wheel(source, tmp_path_factory):
    return build("wheel", source, tmp_path_factory.mktemp("wheel") / "out")


def product_files(source):
    """Every file of the product, by the name under which it installs."""
    ours = {p.relative_to(source).as_posix() for p in (source / "scratchnet").rglob("*") if p.is_file()}
    kernels = {p for p in (source / "kernels").rglob("*") if p.is_file()}
    return ours | {f"scratchnet/{p.relative_to(source).as_posix()}" for p in kernels}


def test_wheel_holds_every_file_and_nothing_else(source, wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == product_files(source)


def test_wheel_declares_version_licence_and_console_script(wheel):
    archive = zipfile.ZipFile(wheel)
    info = f"scratchnet-{scratchnet.__version__}.dist-info"
    metadata = archive.read(f"{info}/METADATA").decode()
    assert f"Version: {scratchnet.__version__}\n" in metadata
    assert "Requires-Python: >=3.11" in metadata
    assert re.search(r"^License(-Expression)?: MIT$", metadata, re.MULTILINE)
    assert any(name.startswith(info) and name.endswith("LICENSE") for name in archive.namelist())
    assert "scratchnet = scratchnet.cli:main" in archive.read(f"{info}/entry_points.txt").decode()
    needed = re.findall(r"^Requires-Dist: ([\w-]+)(?!.*extra ==)", metadata, re.MULTILINE)
    assert not {"torch", "librosa", "onnx", "cupy"} & {name.split("-")[0] for name in needed}


def test_wheel_works_where_it_is_installed(wheel, tmp_path):
    zipfile.ZipFile(wheel).extractall(tmp_path / "site")
    found = probe(f"sys.path.insert(0, {str(tmp_path / 'site')!r})", cwd=tmp_path)
    assert found == tmp_path / "site" / "scratchnet" / "kernels" / "reference.py"


def test_sdist_builds_the_same_wheel(source, wheel, tmp_path):
    sdist = build("sdist", source, tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, filter="data")
    unpacked = tmp_path / f"scratchnet-{scratchnet.__version__}"
    again = build("wheel", unpacked, tmp_path / "wheel")
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())
    assert (unpacked / "tests" / "test_packaging.py").is_file()


def test_editable_install_follows_the_source(source, tmp_path):
    editable = build("editable", source, tmp_path / "wheel")
    zipfile.ZipFile(editable).extractall(tmp_path / "site")
    for cwd in (tmp_path, source.parent):  # beside the clone, too, where its folder could pass for the package
        found = probe(f"site.addsitedir({str(tmp_path / 'site')!r})", cwd=cwd)
        assert found == source / "kernels" / "reference.py"


def test_checkout_works_uninstalled(source):
    assert probe("sys.path.insert(0, '')", cwd=source) == source / "kernels" / "reference.py"


def test_kernels_is_no_global_name():
    # `kernels` is another project's package: a folder of ours with an __init__.py would hide it in a checkout.
    assert not (ROOT / "kernels" / "__init__.py").exists()


@pytest.mark.parametrize("target", ["train", "test"])
def test_the_two_commands_of_the_readme_are_targets(target):
    assert re.search(rf"^make {target}( +#.*)?$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert re.search(rf"^{target}: ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


def test_the_changelog_knows_this_version():
    assert f"## {scratchnet.__version__}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
