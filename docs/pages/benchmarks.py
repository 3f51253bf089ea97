"""The page of benchmarks. The tables show `docs/benchmarks/*.json`: results of the benchmarks speed, uci and peers."""

import json
import math
import pathlib

from experiments.benchmarks import speed, uci

__all__ = ["FOLDER", "page"]

FOLDER = pathlib.Path(__file__).parents[1] / "benchmarks"
_COMMANDS = {
    "speed": "python -m experiments.benchmarks.speed",
    "uci": "python -m experiments.benchmarks.uci --data FOLDER",
    "peers": "python -m experiments.benchmarks.peers --data FOLDER --rows 2000 --splits 2",
}
_PEER_SCORES = {
    "crps": "CRPS",
    "nll": "NLL",
    "pinball_5": "pinball loss at 5%",
    "pinball_50": "at 50%",
    "pinball_95": "at 95%",
    "coverage_90": "coverage of 90%",
    "fit_cpu": "CPU seconds to fit",
    "predict_cpu": "to predict",
    "fit_seconds": "seconds to fit",
}


def page() -> str:
    """The page's Markdown. For a benchmark without a file in `docs/benchmarks`, the page shows only the command."""
    parts = [
        "# Benchmarks\n\nEach table comes from a file in `docs/benchmarks`: the `metrics.json` of one command, with "
        "the machine and the date. Run the command to measure your machine.\n"
    ]
    for name, title, table in (
        ("speed", "Speed of training", _speed),
        ("uci", "Predicted densities", _uci),
        ("peers", "Other packages", _peers),
    ):
        parts.append(f"## {title}\n\n    {_COMMANDS[name]}\n")
        path = FOLDER / f"{name}.json"
        parts.append(table(json.loads(path.read_text())) if path.exists() else "Not recorded here yet.\n")
    return "\n".join(parts)


def _speed(metrics):
    parts = [_note(metrics)]
    for model, rows in metrics["models"].items():
        lines = [
            (
                name,
                f"{row['us_per_step']:.0f}",
                f"{row['us_per_step'] / rows[speed.ours(name, rows)]['us_per_step']:.2f}",
                f"{row['first_seconds']:.2f}",
                _bar(row["us_per_step"], (one["us_per_step"] for one in rows.values())),
            )
            for name, row in rows.items()
        ]
        head = [speed.TITLES[model], "us a step", "ratio to nllfit", "seconds to the first epoch", "us a step"]
        parts.append(_table(head, lines))
    for job, rows in metrics["jobs"].items():
        lines = [
            (name, f"{seconds:.3g}", f"{seconds / rows[speed.ours(name, rows)]:.2f}", _bar(seconds, rows.values()))
            for name, seconds in rows.items()
        ]
        parts.append(_table([speed.TIMES[job], "seconds", "ratio to nllfit", "seconds"], lines))
    return "\n".join(parts)


def _uci(metrics):
    rows = {name: row for name, row in metrics.items() if isinstance(row, dict)}
    parts = [_note(metrics)]
    for title, tables in (("Normal heads", rows), ("free", {name: row["free"] for name, row in rows.items()})):
        lines = [
            (name, *(f"{table[score]:.4g} ± {table[f'{score}_se'] or math.nan:.2g}" for score in uci.SCORES))
            for name, table in tables.items()
        ]
        parts.append(_table([title, "NLL", "RMSE", "CRPS", "calibration error"], lines))
    return "\n".join(parts)


def _peers(metrics):
    parts = [_note(metrics)]
    for title, rows in metrics.items():
        if isinstance(rows, dict):
            lines = [
                (name, *("-" if row[score] is None else f"{row[score]:.4g}" for score in _PEER_SCORES))
                for name, row in rows.items()
            ]
            parts.append(_table([title, *_PEER_SCORES.values()], lines))
    return "\n".join(parts)


def _note(metrics):
    return f"{metrics['note']}\n" if "note" in metrics else ""


def _bar(value, values):
    """A bar of relative length `value / max(values)`. `site.css` sets the height and the colour."""
    return f'<span class="bar" style="width: {9 * value / max(values):.2f}rem"></span>'


def _table(head, rows):
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines) + "\n"
