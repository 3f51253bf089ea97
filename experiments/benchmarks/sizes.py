"""How do time and memory grow with the data and with the model?

    python -m experiments.benchmarks.sizes

Six sizes grow in turn by factors of ten: the numbers of rows, columns, classes, components of a mixture and elements of
an outcome, and the batch size. When the batch size grows, the number of rows is equal to it, so one batch contains all
rows. `--only rows columns` selects the first two sizes. Each value of a size is measured in a new process, which trains
two epochs with `nllfit.fit`, then evaluates and predicts.

The table has these columns:

- `first`, `second`: the seconds of the first epoch, in which TensorFlow traces and compiles, and of the second epoch;
- `evaluate`, `predict`: the seconds of `nllfit.evaluate` and of `nllfit.predict_distribution`;
- `MB`: the growth of the peak memory after the start of the first epoch;
- `slope`: the exponent `b` of `seconds = a * size ** b` for the second epoch, between a size and the size before it.

Expected: slopes are at most 1, and the memory is a few times the size of the arrays.
"""

import json
import math
import resource
import subprocess
import sys
import time

import numpy as np

import nllfit
from experiments import common

SIZES = {
    "rows": (10_000, 100_000, 1_000_000, 10_000_000),
    "columns": (10, 100, 1_000, 10_000),
    "classes": (10, 100, 1_000),
    "components": (1, 10, 100),
    "event": (1, 10, 100, 1_000, 10_000),
    "batch": (1_000, 10_000, 100_000, 1_000_000),
}
USUAL = {"rows": 2_000, "columns": 8, "classes": 0, "components": 0, "event": 1, "batch": 0}
COLUMNS = ("first", "second", "evaluate", "predict", "MB")


def data(rows, columns, classes, event, seed):
    """Returns random inputs, and outcomes that are class labels or numbers."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal([rows, columns], "float32")
    y = rng.integers(classes, size=rows) if classes else rng.standard_normal([rows, event], "float32")
    return x, y


def head(heads, classes, components, event):
    """Returns the head for the outcomes of `data`."""
    if classes:
        return heads.Categorical(classes)
    return heads.Mixture("Normal", components, event) if components else heads.Normal(event)


def measured(tools, what, size, seed=0):
    """Returns the seconds and megabytes of a job, as a dict with the keys `COLUMNS`.

    `what` names a setting (a key of `SIZES`), and `size` is the value of this setting. All other settings have their
    values from `USUAL`. There is one exception: if `what` is "batch", the number of rows is also `size`.
    """
    values = {**USUAL, what: size}
    batch = values.pop("batch")
    if batch:
        values["rows"] = batch
    rows, columns, classes, components, event = values.values()
    x, y = data(rows, columns, classes, event, seed)
    head_layer, layers = head(tools.heads, classes, components, event), tools.keras.layers
    model = tools.keras.Sequential(
        [layers.Input((columns,)), layers.Dense(16, "relu"), layers.Dense(head_layer.family.params_size), head_layer]
    )
    model.compile("adam", tools.loss)
    megabytes_before, seconds = _megabytes(), []
    fit = {"batch_size": batch or min(1024, rows), "epochs": 1, "verbose": 0}
    for task in (
        lambda: nllfit.fit(model, x, y, **fit),
        lambda: nllfit.fit(model, x, y, **fit),
        lambda: nllfit.evaluate(model, x, y),
        lambda: nllfit.predict_distribution(model, x),
    ):
        start = time.perf_counter()
        task()
        seconds.append(time.perf_counter() - start)
    return dict(zip(COLUMNS, [*seconds, _megabytes() - megabytes_before], strict=True))


def _megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def in_a_process(arguments, what, size):
    """Returns the result of `measured` in a new process, or the error message if the job fails."""
    command = [sys.executable, "-m", "experiments.benchmarks.sizes", "--keras", str(arguments.keras)]
    command += ["--seed", str(arguments.seed)]
    done = subprocess.run([*command, "--job", what, str(size)], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": common.failure(done)}
    return json.loads(done.stdout.splitlines()[-1])


def show(metrics):
    """Prints the table."""
    print(f"\n{'':12}{'size':>12}" + "".join(f"{name:>10}" for name in COLUMNS) + f"{'slope':>8}")
    for what, rows in metrics.items():
        previous = None
        for size, row in rows.items():
            if "failed" in row:
                print(f"{what:12}{size:>12}  failed: {row['failed']}")
                continue
            slope = ""
            if previous:
                slope = f"{math.log(row['second'] / previous[1]) / math.log(int(size) / previous[0]):.2f}"
            previous = int(size), row["second"]
            numbers = "".join(f"{row[name]:10.2f}" for name in COLUMNS[:-1]) + f"{row['MB']:10.0f}"
            print(f"{what:12}{size:>12}{numbers}{slope:>8}")


def main(argv=None):
    """Runs each job in its own process. Returns the metrics."""
    parser = common.parser(__doc__, "benchmarks.sizes")
    parser.add_argument("--only", nargs="+", choices=list(SIZES), default=list(SIZES), help="(default: all)")
    parser.add_argument("--most", type=int, default=10_000_000, help="leave out larger sizes (default: %(default)s)")
    parser.add_argument("--job", nargs=2, metavar=("WHAT", "SIZE"), help="measure this job in the current process")
    arguments = common.checked(parser.parse_args(argv), most=1)
    if arguments.job:
        what, size = arguments.job
        if what not in SIZES:
            raise ValueError(f"--job {what} is unknown: give one of {', '.join(SIZES)}.")
        if not size.isdecimal() or int(size) < 1:
            raise ValueError(f"--job {what} {size}: give a size of at least 1, as an integer.")
        print(json.dumps(measured(common.toolkit(arguments.keras), what, int(size), arguments.seed)))
        return None
    with common.run_folder(arguments) as folder:
        metrics = {}
        for what in arguments.only:
            sizes = [size for size in SIZES[what] if size <= arguments.most]
            path = folder / "unfinished" / f"{what}.json"
            metrics[what] = common.kept(
                path, lambda what=what, sizes=sizes: {str(size): in_a_process(arguments, what, size) for size in sizes}
            )
        common.write_json(folder / "metrics.json", metrics)
    show(metrics)
    return metrics


if __name__ == "__main__":
    common.run(main)
