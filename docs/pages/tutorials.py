"""Tutorials: Python files with cells. The build of the site runs the files and shows their output and figures."""

import ast
import concurrent.futures
import contextlib
import hashlib
import io
import itertools
import json
import logging
import multiprocessing
import os
import pathlib
import re
import time
from collections.abc import Iterator

__all__ = ["LEARN", "cells", "linked", "page", "run", "running", "tutorials"]

ROOT = pathlib.Path(__file__).parents[2]
LEARN = ROOT / "docs" / "learn"
CACHE = ROOT / "build" / "tutorials"


def tutorials() -> list[pathlib.Path]:
    """The files of the tutorials, in reading order."""
    return sorted(LEARN.glob("*.py"))


def linked(markdown: str) -> str:
    """Replaces each link to a tutorial's file by a link to its page."""
    return re.sub(r"\]\(((?:learn/)?\d+-[a-z-]+)\.py\)", r"](\1.md)", markdown)


def cells(source: str) -> list[tuple[str, str, int]]:
    """The cells of a file in the percent format, as tuples `("text" or "code", content, first line)`."""
    found = []
    starts = [match.start() for match in re.finditer(r"^# %%", source, flags=re.MULTILINE)]
    for start, end in itertools.pairwise([*starts, len(source)]):
        marker, _, body = source[start:end].partition("\n")
        line = source.count("\n", 0, start) + 2 + len(body) - len(body.lstrip("\n"))
        body = body.strip("\n")
        if "[markdown]" in marker:
            found.append(("text", re.sub(r"^# ?", "", body, flags=re.MULTILINE), line))
        else:
            found.append(("code", body, line))
    return found


def run(path: pathlib.Path) -> list[tuple[str, bytes | None]]:
    """The output of each code cell, and a PNG if the last expression of the cell is a figure."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    results = []
    for kind, body, line in cells(path.read_text()):
        if kind == "text":
            continue
        program, last = ast.parse(body), None
        ast.increment_lineno(program, line - 1)  # so that TensorFlow finds the source of a function
        if program.body and isinstance(program.body[-1], ast.Expr):
            last = ast.Expression(program.body.pop().value)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(program, str(path), "exec"), namespace)
            value = None if last is None else eval(compile(last, str(path), "eval"), namespace)
        results.append((printed.getvalue(), _png(value)))
    return results


@contextlib.contextmanager
def running() -> Iterator[None]:
    """Runs the changed tutorials during a `with` block, and stores the results for `page`.

    The tutorials run in other processes. The end of the block waits for them.
    """
    workers = min(os.cpu_count() or 1, 4)
    spawn = multiprocessing.get_context("spawn")  # TensorFlow hangs in a forked process
    quiet = logging.getLogger("tensorflow").setLevel  # hides warnings about deprecations and retracing
    with concurrent.futures.ProcessPoolExecutor(workers, spawn, initializer=quiet, initargs=("ERROR",)) as pool:
        results = pool.map(_cached_results, tutorials())
        yield
        list(results)  # raises the error of a tutorial


def page(path: pathlib.Path) -> tuple[str, dict[str, bytes]]:
    """A tutorial's Markdown, and its figures by name. Runs the tutorial only if there is no stored result."""
    source, figures = path.read_text(), {}
    results = iter(_cached_results(path))
    parts = []
    for kind, body, _ in cells(source):
        if kind == "text":
            parts.append(body)
            continue
        printed, png = next(results)
        if body:
            parts.append(f"```python\n{body}\n```")
        if printed.strip():
            parts.append(f'```text title="prints"\n{printed.rstrip()}\n```')
        if png:
            name = f"{path.stem}-{len(figures) + 1}.png"
            figures[name] = png
            parts.append(f"![{_caption(body)}]({name}){{ .figure }}")
    note = f"*This page is the program [`{path.name}`]({path.name}), run when the site was built.*"
    return "\n\n".join([parts[0], note, *parts[1:]]) + "\n", figures


def _cached_results(path):
    key = hashlib.sha256("\n".join(body for kind, body, _ in cells(path.read_text()) if kind == "code").encode())
    for module in sorted((ROOT / "nllfit").rglob("*.py")):
        key.update(module.read_bytes())
    cache_file = CACHE / f"{path.stem}-{key.hexdigest()[:16]}.json"
    if not cache_file.exists():
        start = time.perf_counter()
        results = [(printed, png.hex() if png else "") for printed, png in run(path)]
        CACHE.mkdir(parents=True, exist_ok=True)
        for old in CACHE.glob(f"{path.stem}-*.json"):
            old.unlink()
        cache_file.write_text(json.dumps({"seconds": time.perf_counter() - start, "results": results}))
    return [(printed, bytes.fromhex(png)) for printed, png in json.loads(cache_file.read_text())["results"]]


def _png(value):
    from matplotlib.figure import Figure

    if not isinstance(value, Figure):
        return None
    file = io.BytesIO()
    value.savefig(file, dpi=150, metadata={"Software": None})
    return file.getvalue()


def _caption(body):
    """The caption of a figure, which is also its text alternative: the comment at the start of its cell."""
    first = body.partition("\n")[0]
    return first.removeprefix("#").strip() if first.startswith("#") else "The figure that the cell above draws"
