"""The built wheel contains the complete package, imports only what it needs, and keeps Keras's safe mode."""

import importlib.metadata
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
import zipfile

import pytest

import nllfit
from tests.test_safety import crafted, pickled

ROOT = pathlib.Path(__file__).parents[1]
PACKAGE = pathlib.Path(nllfit.__file__).parent

REPOSITORY = "https://example.org/nllfit"
PROGRAM = """
import importlib, importlib.metadata, importlib.resources, json, pkgutil, sys
import tensorflow, tf_keras, tensorflow_probability
tensorflow_probability.distributions
before = set(sys.modules)
import nllfit
added = sorted({name.partition(".")[0] for name in set(sys.modules) - before} - sys.stdlib_module_names)
try:
    tf_keras.models.load_model(sys.argv[1])
    refused = None
except ValueError as error:
    refused = str(error)
names = [info.name for info in pkgutil.walk_packages(nllfit.__path__, "nllfit.")]
files = [importlib.import_module(name).__file__ for name in ["nllfit", *names]]
marks = ("py.typed", "heads.pyi", "layers.pyi", "keras3/heads.pyi", "keras3/layers.pyi")
typed = all(importlib.resources.files("nllfit").joinpath(mark).is_file() for mark in marks)
version = importlib.metadata.version("nllfit"), nllfit.__version__
print(json.dumps({"added": added, "files": files, "typed": typed, "version": version, "refused": refused}))
"""


@pytest.mark.thorough
def test_the_wheel_contains_the_package(tmp_path):
    source, installed = tmp_path / "source", tmp_path / "installed"
    shutil.copytree(ROOT / "nllfit", source / "nllfit", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", installed, source], check=True, capture_output=True, text=True)
    environment = os.environ | {"PYTHONPATH": str(installed)}
    stranger = crafted(tmp_path / "m.keras", "distribution_layer", "DistributionLambda", pickled(tmp_path))
    run = [sys.executable, "-c", PROGRAM, str(stranger)]
    result = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr[-2000:]
    found = json.loads(result.stdout)
    assert found["added"] == ["nllfit"]  # all other packages were imported by TensorFlow, tf_keras or TFP
    assert {pathlib.Path(file).relative_to(installed) for file in found["files"]} == {
        path.relative_to(ROOT) for path in PACKAGE.rglob("*.py")
    }
    assert found["refused"].startswith("The file holds code")  # the message of `nllfit`, not of Keras
    assert not (tmp_path / "ran").exists()
    assert found["typed"]
    assert set(found["version"]) == {nllfit.__version__}
    (metadata,) = importlib.metadata.distributions(name="nllfit", path=[str(installed)])
    assert metadata.metadata["License"] == "Apache-2.0"
    assert any(file.name == "LICENSE" for file in metadata.files)


@pytest.mark.thorough
def test_distributions_are_reproducible_to_the_byte_and_link_to_the_repository(tmp_path):
    def built(name, umask):
        """The names and bytes of the wheel and the sdist, built in the folder `name` with this `umask`."""
        (tmp_path / name).mkdir()
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1764460800", "TMPDIR": str(tmp_path / name)}
        command = [sys.executable, ROOT / ".ci" / "dist", tmp_path / name / "dist", REPOSITORY]
        subprocess.run(command, env=environment, check=True, capture_output=True, text=True, umask=umask)
        return {path.name: path.read_bytes() for path in (tmp_path / name / "dist").iterdir()}

    first = built("first", 0o022)
    time.sleep(2 - time.time() % 2)  # a ZIP file counts time in steps of two seconds
    assert first == built("second", 0o077)
    version = nllfit.__version__
    wheel = f"nllfit-{version}-py3-none-any.whl"
    assert set(first) == {wheel, f"nllfit-{version}.tar.gz"}
    with zipfile.ZipFile(tmp_path / "first" / "dist" / wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(f"nllfit-{version}.dist-info/METADATA").decode()
    kept = [path for suffix in ("py", "pyi", "typed") for path in PACKAGE.rglob(f"*.{suffix}")]
    assert {str(path.relative_to(ROOT)) for path in kept} == {name for name in names if name.startswith("nllfit/")}
    assert any(name.endswith("/LICENSE") for name in names)
    assert f"Project-URL: Issues, {REPOSITORY}/issues" in metadata
    readme = (ROOT / "README.md").read_text()
    links = re.findall(r"(!?)\[[^]]*\]\(([^)]+)\)", readme)
    on_pypi = re.findall(r"(!?)\[[^]]*\]\(([^)]+)\)", metadata)
    assert len(on_pypi) == len(links) >= 20
    for (image, target), link in zip(links, on_pypi, strict=True):
        page = f"{REPOSITORY}/{'raw' if image else 'blob'}/v{version}/{target}"
        assert link == (image, target if target.startswith("https:") else page)
