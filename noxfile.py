"""`nox` runs the tests on each Python version of setup.cfg, and with the oldest TensorFlow on the oldest Python.

`nox` also builds the site.
"""

import configparser
import json
import pathlib
import re
import shutil

import nox

nox.options.default_venv_backend = "venv"

_SETUP = configparser.ConfigParser(interpolation=None)
_SETUP.read("setup.cfg")
PYTHONS = re.findall(r"Python :: (3\.\d+)", _SETUP["metadata"]["classifiers"])
_REQUIRED = _SETUP["options"]["install_requires"]
OLDEST = [f"{name}=={version}" for name, version in re.findall(r"(\S+) >= ([\d.]+)", _REQUIRED)]
LOCKED = ("experiments", "test", "docs")  # the extras whose dependencies are pinned in `requirements/*.txt`
PINNED = re.findall(r"(\S+).* < ", _REQUIRED)


@nox.session(python=PYTHONS)
def newest(session: nox.Session) -> None:
    """All tests that need no GPU, with the newest versions that the pins allow."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "--thorough", *session.posargs)


@nox.session(python=PYTHONS[0])
def oldest(session: nox.Session) -> None:
    """The same tests without the style checks, with the oldest TensorFlow, TensorFlow Probability and tf-keras."""
    session.install("-e", ".[test]", *OLDEST)
    session.run("python", "-m", "pytest", "--thorough", "--ignore=tests/test_style.py", *session.posargs)


@nox.session(python=PYTHONS[-1], default=False)
def beyond(session: nox.Session) -> None:
    """Tests versions above the upper pins, including pre-releases: first only `test_canaries.py`, then the usual tests.

    The usual tests contain a twentieth of the tests marked `thorough`. `nox -s beyond -- --thorough` runs all tests.
    """
    session.install("-e", ".[test]")
    session.install("--upgrade", "--pre", *PINNED)
    session.run("python", "-m", "pip", "list")
    session.run("python", "-m", "pytest", "tests/adapters/test_canaries.py")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session(python=[PYTHONS[0], PYTHONS[-1]])
def docs(session: nox.Session) -> None:
    """The build of the site, which runs the tutorials; a warning is an error."""
    session.install("-e", ".[docs]")
    shutil.rmtree("build/tutorials", ignore_errors=True)  # they may be the results of another Python version
    session.run("mkdocs", "build", "--strict")


@nox.session(python=PYTHONS[1], default=False)
def locks(session: nox.Session) -> None:
    """Writes `requirements/*.txt`: the version and hashes of each dependency, for all Python versions and systems."""
    session.install("uv")
    options = ["--universal", "--python-version", PYTHONS[0], "--generate-hashes", "--no-annotate", "--no-header"]
    for extra in LOCKED:
        out = f"requirements/{extra}.txt"
        session.run("uv", "pip", "compile", "setup.cfg", "--extra", extra, *options, "--upgrade", "-o", out)


@nox.session(python=PYTHONS[1], default=False)
def audit(session: nox.Session) -> None:
    """Asks PyPI for known vulnerabilities of the locked versions; fails if PyPI has no answer for one of them."""
    session.install("pip-audit")
    for extra in LOCKED:
        session.run("pip-audit", "--strict", "--require-hashes", "--disable-pip", "-r", f"requirements/{extra}.txt")


@nox.session(python=PYTHONS[1], default=False)
def licences(session: nox.Session) -> None:
    """Writes docs/licences.md: the licence of each package that `requirements/test.txt` installs on Linux."""
    session.install("pip-licenses")
    options = ["--from=mixed", "--format=json", "--with-system", "--ignore-packages", "pip"]
    found = str(session.run("pip-licenses", "--python", _locked(session), *options, silent=True))
    pathlib.Path("docs/licences.md").write_text(_licences(json.loads(found)))


@nox.session(python=PYTHONS[1], default=False)
def release(session: nox.Session) -> None:
    """Writes to dist/ the wheel, the sdist, and an SBOM (CycloneDX) of the packages of `requirements/test.txt`.

    The session needs the address of the repository: `nox -s release -- https://github.com/OWNER/nllfit`.
    """
    python = _locked(session)
    epoch = str(session.run("git", "log", "-1", "--format=%ct", external=True, silent=True)).strip()
    session.run(python, ".ci/dist", "dist", *session.posargs, env={"SOURCE_DATE_EPOCH": epoch}, external=True)
    session.install("cyclonedx-bom")
    session.run("cyclonedx-py", "environment", "--output-reproducible", "-o", "dist/nllfit.cdx.json", python)


def _locked(session: nox.Session) -> str:
    """Makes an environment with only the packages in `requirements/test.txt`. Returns the path of its Python."""
    folder = pathlib.Path(session.create_tmp(), "locked")
    session.run("python", "-m", "venv", "--clear", str(folder))
    python = str(folder / "bin" / "python")
    session.run(python, "-m", "pip", "install", "--require-hashes", "-r", "requirements/test.txt", external=True)
    return python


def _licences(found: list[dict[str, str]]) -> str:
    """The page of licences. A package that `requirements/experiments.txt` does not contain is only for the tests."""
    needed = pathlib.Path("requirements/experiments.txt").read_text()
    lines = [
        "# Licences of the dependencies\n",
        "nllfit has the Apache License 2.0. `nox -s licences` writes this table from the metadata of the packages in",
        "`requirements/test.txt`, on Linux. *Tests* marks the packages that only the tests need. `UNKNOWN` means that",
        "the metadata name no licence.\n",
        "| package | version | licence | for |",
        "| --- | --- | --- | --- |",
    ]
    for row in found:
        name = re.sub(r"[-_.]+", "-", row["Name"]).lower()
        purpose = "" if f"\n{name}==" in f"\n{needed}" else "tests"
        lines.append(f"| {row['Name']} | {row['Version']} | {row['License'].splitlines()[0]} | {purpose} |")
    return "\n".join(lines) + "\n"
