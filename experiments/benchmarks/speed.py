"""How fast is training when an epoch is one program? `nllfit.fit` compared with Keras, PyTorch and JAX.

    python -m experiments.benchmarks.speed                     # everything, for all contenders that are installed
    python -m experiments.benchmarks.speed --models            # no models: only parts 2 and 3
    python -m experiments.benchmarks.speed --models small cnn --jobs --contenders nllfit tf_keras --json

There are three parts:

1. Every contender trains the same networks with Adam on the same rows, in a separate process. The process measures the
   microseconds per step (the median of `--repeats` calls), the seconds of the first call, which includes tracing, and
   the peak memory.
2. Every contender runs whole jobs. Most jobs train a network with 13 inputs, 50 hidden units and 2 classes on 455 rows
   with batches of 32. In the job `scoring`, a 16-64-2 network predicts and evaluates 64,000 rows. Each job runs in
   `--repeats` new processes, and the contenders take turns. Imports are not timed. Tracing and compilation are timed,
   except in these cases: a model is fitted again, the members of an ensemble are fitted, or a model predicts or
   evaluates. In these cases, an earlier call traces the program. In the jobs `again` and `members`, training also runs
   for a few seconds before the timing starts, so that XLA can compile.
3. `nllfit.fit` trains with several numbers of rows and batch sizes. The cost of a head is the time per step with a
   Bernoulli head and the generic loss, compared with a Dense layer and Keras's binary crossentropy.

`--models` without names skips part 1. `--jobs` without names skips parts 2 and 3.

If a run is interrupted, the same command with `--out` keeps the results of the finished models and jobs.

PyTorch and JAX are included if they are installed (`pip install torch jax`). The whole benchmark takes half an hour, of
which Keras takes most. With `--repeats 1` it takes about ten minutes.

Ratios are relative to `nllfit` with the same version of Keras. For PyTorch and JAX, they are relative to `nllfit` with
tf_keras. Expected on two cores: on the smallest model, where Python takes most of the time, a step of `tf_keras` takes
at least 38 times as long as a step of `nllfit`. On the CNN, where arithmetic takes most of the time, this ratio is at
least 1.4. A head costs nothing: the time per step with a head, divided by the time without a head, is 1.00 +- 0.03. On
a 16-256-256-2 network, a step of JAX is 10% faster than a step of `nllfit`, because jaxlib 0.10 computes five of the
eight matrix products with YNNPACK, a library of CPU kernels. TensorFlow 2.21 uses YNNPACK only with
`XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type=+LIBRARY_FUSION_TYPE_DOT` (docs/training.md).
"""

import concurrent.futures
import functools
import importlib
import importlib.util
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

from experiments import common
from experiments.benchmarks import speed_contenders as contenders

MODELS = {  # hidden layers, input shape, classes, batch size, steps per epoch, epochs per call
    "small": ((64,), (16,), 2, 32, 1000, 3),
    "medium": ((256, 256), (16,), 2, 128, 300, 2),
    "large": ((512, 512), (784,), 10, 128, 150, 2),
    "cnn": ("cnn", (28, 28, 1), 10, 64, 60, 2),
    "dataset": ((64,), (16,), 2, 32, 2000, 1),
    "sequence": ((64,), (16,), 2, 32, 2000, 1),
}
TITLES = {"small": "16-64-2, batch 32", "medium": "16-256-256-2, batch 128", "large": "784-512-512-10, batch 128"}
TITLES |= {"cnn": "CNN on 28x28, batch 64", "dataset": "small, a tf.data.Dataset", "sequence": "small, a Sequence"}
# Before its time is measured, a contender trains for this number of seconds, while XLA compiles in the background.
SETTLE = 3.0
JOBS = {  # the times that each job measures, and their titles
    "fresh": {"fresh": "a fresh model, 40 epochs"},
    "again": {"again": "a model fitted again, 40 epochs"},
    "twenty": {"twenty": "20 fresh models, 40 epochs each", "further": "each further one of the 20"},
    "stopping": {
        "stopping": "1000 epochs, EarlyStopping, validation",
        "stopped": "fitted again, 40 epochs of the same",
    },
    "saving": {"saving": "40 epochs, validation, ModelCheckpoint"},
    "scoring": {
        "predict": "predictions for 64,000 rows, 16-64-2, batch 32",
        "evaluate": "evaluation of 64,000 rows",
    },
    "members": {"turns": "5 members in turn, 200 epochs", "threads": "5 members in threads, 200 epochs"},
}
TIMES = {what: title for times in JOBS.values() for what, title in times.items()}
CONTENDERS = {  # the package that each contender needs
    "nllfit": "tf_keras",
    "nllfit_keras3": "keras",
    "tf_keras": "tf_keras",
    "keras": "keras",
    "torch": "torch",
    "jax": "jax",
}
WITHOUT = {
    ("cnn", "jax"),
    ("stopping", "torch"),
    ("saving", "torch"),
    ("saving", "jax"),
    ("scoring", "torch"),
    ("scoring", "jax"),
}  # combinations that are not implemented
WITHOUT |= {(model, contender) for model in ("dataset", "sequence") for contender in ("torch", "jax")}


def installed():
    """Returns the contenders with installed packages."""
    return [name for name, package in CONTENDERS.items() if importlib.util.find_spec(package)]


def seconds(work):
    """Returns the elapsed seconds of a call of `work`."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def settled(train, epochs, settle):
    """Calls `train` once, and then repeatedly for `settle` seconds, so that XLA can finish compiling.

    Returns the seconds of the first call.
    """
    first, start = seconds(lambda: train(epochs)), time.perf_counter()
    while time.perf_counter() - start < settle:
        train(epochs)
    return first


def timed(train, epochs, steps, repeats, settle=0.0):
    """Returns the seconds of a first call with one epoch, and the microseconds per step of `repeats` later calls."""
    first = settled(train, 1, settle)
    return first, [seconds(lambda: train(epochs)) / (epochs * steps) * 1e6 for _ in range(repeats)]


def measure(contender, model, repeats, seed):
    """Measures the times and the memory of one contender on one model, in this process."""
    hidden, shape, classes, batch, steps, epochs = MODELS[model]
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch * steps, *shape)).astype("float32")
    y = rng.integers(0, classes, batch * steps)
    source = {"source": model} if model in ("dataset", "sequence") else {}
    train = getattr(contenders, contender)(hidden, shape, classes, x, y, batch, **source)
    first, times = timed(train, epochs, steps, repeats, SETTLE)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"us_per_step": float(np.median(times)), "all_us": times, "first_seconds": first, "peak_mib": memory}


def again(work):
    """Calls `work` once, and then five times. Returns the median seconds of the five calls."""
    work()
    return float(np.median([seconds(work) for _ in range(5)]))


def once_more(train, *held_out):
    """Trains a model again, in five runs of 40 epochs each. Returns the median time of a run, in seconds."""
    return float(np.median([seconds(lambda: train(40, *held_out)) for _ in range(5)]))


def whole_job(contender, job, seed):
    """Measures a whole job of one contender in this process. Returns `{name: seconds}` for the names in `JOBS[job]`."""
    importlib.import_module(CONTENDERS[contender])
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(455, 13)).astype("float32"), rng.integers(0, 2, 455)
    make = functools.partial(getattr(contenders, contender), (50,), (13,), 2, x, y, 32)
    if job == "fresh":
        return {"fresh": seconds(lambda: make()(40))}
    if job == "again":
        train = make()
        settled(train, 40, SETTLE)
        return {"again": once_more(train)}
    if job == "twenty":
        times = [seconds(lambda: make()(40)) for _ in range(20)]
        return {"twenty": sum(times), "further": float(np.median(times[1:]))}
    if job == "stopping":
        made, held_out = functools.cache(make), (x[:91], y[:91])
        return {"stopping": seconds(lambda: made()(1000, held_out)), "stopped": once_more(made(), held_out)}
    if job == "saving":
        with tempfile.TemporaryDirectory() as folder:
            return {"saving": seconds(lambda: make()(40, (x[:91], y[:91]), os.path.join(folder, "model.keras")))}
    if job == "scoring":
        x, y = rng.normal(size=(64_000, 16)).astype("float32"), rng.normal(size=(64_000, 1)).astype("float32")
        works = contenders.scoring(contender, x, y, 32)
        return {what: again(work) for what, work in zip(JOBS[job], works, strict=True)}
    trains = [make() for _ in range(5)]
    for train in trains:
        train(40)
    settled(trains[0], 40, SETTLE)
    turns = seconds(lambda: [train(200) for train in trains])
    with concurrent.futures.ThreadPoolExecutor(5) as threads:
        return {"turns": turns, "threads": seconds(lambda: list(threads.map(lambda train: train(200), trains)))}


def whole_jobs(arguments, job):
    """Lets each contender do the tasks of a job, each task in several processes.

    Returns `{name: {contender: median seconds}}` for the names in `JOBS[job]`.
    """
    names = [name for name in arguments.contenders if (job, name) not in WITHOUT]
    rounds = [{name: worker(arguments, "job", name, job) for name in names} for _ in range(arguments.repeats)]

    def median(what, name):
        return float(np.median([times[name][what] for times in rounds]))

    return {what: {name: median(what, name) for name in names} for what in JOBS[job]}


def growth(seed):
    """Returns the seconds per epoch of the small model for several numbers of rows and batch sizes."""
    rng = np.random.default_rng(seed)
    times = {"rows": {}, "batch_size": {}}
    for name, cases in (
        ("rows", [(rows, 32) for rows in (10**3, 10**4, 10**5, 10**6)]),
        ("batch_size", [(10**5, batch) for batch in (8, 32, 128, 512, 2048)]),
    ):
        for rows, batch in cases:
            x, y = rng.normal(size=(rows, 16)).astype("float32"), rng.integers(0, 2, rows)
            train = contenders.nllfit((64,), (16,), 2, x, y, batch)
            settled(train, 1, SETTLE)
            start = time.perf_counter()
            train(3)
            times[name][rows if name == "rows" else batch] = (time.perf_counter() - start) / 3
    return times


def head_cost(repeats, seed):
    """Measures steps with a head and steps with Keras's loss in turns. Returns microseconds per step, and the ratio."""
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(128 * 1000, 16)).astype("float32"), rng.integers(0, 2, (128 * 1000, 1)).astype("float32")
    trains = [contenders.bernoulli(head, x, y, 128) for head in (True, False)]
    rounds = [[timed(train, 3, 1000, 1)[1][0] for train in trains] for _ in range(max(repeats, 5))]
    head, plain = np.median(rounds, 0)
    return {"head_us": head, "plain_us": plain, "ratio": float(np.median([h / p for h, p in rounds]))}


def worker(arguments, *job):
    """Measures one job in a separate process, and returns the result."""
    print(f"\r{' '.join(job):40}", end="", file=sys.stderr, flush=True)
    command = [sys.executable, "-m", "experiments.benchmarks.speed", "--repeats", str(arguments.repeats)]
    command += ["--seed", str(arguments.seed), "--job", *job]
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        raise ValueError(f"{' '.join(job)} failed: {common.failure(done)}")
    return json.loads(done.stdout.splitlines()[-1])


def in_this_process(arguments):
    """Measures the job that `--job` names."""
    seed, repeats, partial = arguments.seed, arguments.repeats, functools.partial
    tasks = {("growth",): partial(growth, seed), ("head",): partial(head_cost, repeats, seed)}
    for contender in installed():
        tasks |= {("model", contender, model): partial(measure, contender, model, repeats, seed) for model in MODELS}
        tasks |= {("job", contender, job): partial(whole_job, contender, job, seed) for job in JOBS}
    if tuple(arguments.job) not in tasks:
        raise ValueError(
            f"--job {' '.join(arguments.job)} is unknown: "
            "give growth, head, model CONTENDER MODEL or job CONTENDER JOB."
        )
    return tasks[tuple(arguments.job)]()


def ours(name, rows):
    """Returns the contender to compare with `name`: `nllfit` with the same Keras, or else the first of `rows`."""
    rival = "nllfit_keras3" if name in ("keras", "nllfit_keras3") else "nllfit"
    return rival if rival in rows else next(iter(rows))


def report(metrics):
    """Prints the tables."""
    for model, rows in metrics["models"].items():
        print(f"\n{TITLES[model]:26} {'us/step':>9} {'ratio':>7} {'first s':>8} {'MiB':>6}")
        for name, row in rows.items():
            ratio = row["us_per_step"] / rows[ours(name, rows)]["us_per_step"]
            print(
                f"{name:26} {row['us_per_step']:9.1f} {ratio:7.2f} {row['first_seconds']:8.2f} {row['peak_mib']:6.0f}"
            )
    for what, rows in metrics["jobs"].items():
        print(f"\n{TIMES[what]:40} {'seconds':>9} {'ratio':>7}")
        for name, elapsed in rows.items():
            print(f"{name:40} {elapsed:9.3f} {elapsed / rows[ours(name, rows)]:7.2f}")
    missing = [name for name in CONTENDERS if name not in installed()]
    if missing:
        print(f"\nnot installed: {', '.join(missing)}")
    for name, times in metrics.get("growth", {}).items():
        print(f"\n{name:26} {'ms/epoch':>9}")
        for size, elapsed in times.items():
            print(f"{size:>26} {elapsed * 1e3:9.1f}")
    if "head" in metrics:
        head = metrics["head"]
        print(f"\n{'a step with':26} {'us':>9}\n{'a Bernoulli head':26} {head['head_us']:9.1f}")
        print(f"{'Keras loss':26} {head['plain_us']:9.1f}\n{'ratio':26} {head['ratio']:9.3f}")


def main(argv=None):
    """Runs the experiment and returns its metrics."""
    parser = common.parser(__doc__, "benchmarks.speed")
    parser.add_argument("--models", nargs="*", choices=MODELS, default=list(MODELS), help="(default: all)")
    jobs = [*JOBS, "growth", "head"]
    parser.add_argument("--jobs", nargs="*", choices=jobs, default=jobs, help="(default: all)")
    parser.add_argument(
        "--contenders", nargs="+", choices=installed(), default=installed(), help="(default: installed)"
    )
    parser.add_argument(
        "--repeats", type=int, default=3, help="timed calls, and processes of a job (default: %(default)s)"
    )
    parser.add_argument("--json", action="store_true", help="print only the metrics, as JSON")
    parser.add_argument("--job", nargs="+", help="measure one job in this process and print JSON (for workers)")
    arguments = common.checked(parser.parse_args(argv), repeats=1)
    if arguments.job:
        result = in_this_process(arguments)
        print(json.dumps(result, default=float))
        return result
    todo = [(model, contender) for model in arguments.models for contender in arguments.contenders]
    todo = [pair for pair in todo if pair not in WITHOUT]
    with common.run_folder(arguments) as folder:

        def kept(measured, *job):
            path = folder / "unfinished" / f"{'-'.join(job)}.json"
            return common.kept(path, functools.partial(measured, arguments, *job))

        metrics = {"models": {model: {} for model in arguments.models}}
        for model, contender in todo:
            metrics["models"][model][contender] = kept(worker, "model", contender, model)
        metrics["jobs"] = {}
        for job in [job for job in arguments.jobs if job in JOBS]:
            metrics["jobs"] |= kept(whole_jobs, job)
        metrics |= {name: kept(worker, name) for name in ("growth", "head") if name in arguments.jobs}
        common.write_json(folder / "metrics.json", metrics)
        print(json.dumps(metrics)) if arguments.json else report(metrics)
    return metrics


if __name__ == "__main__":
    common.run(main)
