"""Does training stay correct for hours, and do the numbers of open files and threads stop growing?

    python -m experiments.benchmarks.soak --minutes 120

Each round draws a network, a head, data and the settings of the training, and runs one of five trials:

- `keras`: `nllfit.fit` ends with the same weights as `model.fit`;
- `stopped`: if a callback raises an error, the model keeps the weights of the last complete epoch;
- `resumed`: two calls of `fit`, the second with `initial_epoch`, end with the weights of an uninterrupted run;
- `threads`: two models that train at the same time end with the weights of a model that trains alone;
- `killed`: if a process is killed by kill -9 and started again, it ends with the weights of an uninterrupted run.

Weights count as the same if they differ by less than a thousandth of the largest weight.

`--keras` chooses the Keras version of rounds 0 to 3. The version then changes every four rounds. `--seed` is the number
of the first round, and `--round 17` repeats only round 17. If a run is interrupted, the same command with `--out`
continues with the next round, for `--minutes` from the new start. The reported memory, open files and threads are then
those of the new process. They are read from `/proc`, so the benchmark needs Linux.

Expected: no trial fails, and the numbers of open files and threads stop growing. Memory grows by about 30 MB a round,
because TensorFlow keeps the programs that XLA compiled and the graphs of training steps (docs/experiments.md).
"""

import collections
import dataclasses
import itertools
import json
import multiprocessing
import pathlib
import random
import tempfile
import threading
import time

import numpy as np
import tensorflow as tf

import nllfit
from experiments import common

# The maximum difference of weights that count as the same, relative to the largest weight. Two programs round
# differently in float32.
TOLERANCE = 1e-3
HEADS = {
    "Normal": (),
    "Laplace": (),
    "StudentT": (),
    "Bernoulli": (),
    "Categorical": (4,),
    "Poisson": (),
    "NegativeBinomial": (),
    "Gamma": (),
    "Beta": (),
    "ZeroInflated": ("Poisson",),
    "Hurdle": ("LogNormal",),
    "MultivariateNormalTriL": (2,),
    "Mixture": ("Normal", 2),
}


@dataclasses.dataclass(frozen=True)
class Job:
    """The settings of a round. The same settings give the same model and data in every process."""

    keras: int
    seed: int
    head: str
    hidden: tuple
    activation: str
    normalized: bool
    rows: int
    batch_size: int
    epochs: int
    source: str
    weighted: bool
    validated: bool
    optimizer: str
    compile: str

    @classmethod
    def drawn(cls, keras, seed):
        """Draws the settings of a round from `seed`."""
        draw = random.Random(seed)
        source = draw.choice(["arrays", "arrays", "dataset", "sequence"])
        return cls(
            keras=keras,
            seed=seed,
            head=draw.choice(list(HEADS)),
            hidden=tuple(draw.choice([4, 16, 64]) for _ in range(draw.randint(0, 3))),
            activation=draw.choice(["relu", "tanh", "gelu"]),
            normalized=draw.random() < 0.2,
            rows=draw.randint(40, 400),
            batch_size=draw.choice([16, 32, 50]),
            epochs=draw.randint(2, 6),
            source=source,
            weighted=draw.random() < 0.3,
            validated=draw.random() < 0.5,
            optimizer=draw.choice(["adam", "sgd", "rmsprop", "nadam"]),
            compile=draw.choice(["auto", "graph", "xla"]),
        )


class Workshop:
    """The models and data of a job."""

    def __init__(self, job):
        self.job, self.tools = job, common.toolkit(job.keras)
        rng = np.random.default_rng(job.seed)
        self.x = rng.normal(size=(job.rows, 5)).astype("float32")
        self.tools.keras.utils.set_random_seed(job.seed)
        model = self._built()
        self.weights = model.get_weights()
        self.y = self._outcomes(self.tools.distribution(model(self.x)))
        self.sample_weight = rng.uniform(0.5, 2, job.rows).astype("float32") if job.weighted else None

    def _outcomes(self, distribution):
        """Draws an outcome for each row. If its log-density is not finite, another row's outcome replaces it."""
        y = distribution.sample(seed=self.job.seed).numpy()
        finite = np.isfinite(distribution.log_prob(y).numpy())
        return np.where(finite.reshape([-1] + [1] * (y.ndim - 1)), y, y[finite][:1])

    def _built(self):
        keras, job = self.tools.keras, self.job
        head = getattr(self.tools.heads, job.head)(*HEADS[job.head])
        hidden = [keras.layers.Dense(units, job.activation) for units in job.hidden]
        if job.normalized:
            hidden.insert(len(hidden) // 2, keras.layers.LayerNormalization())
        layers = [keras.layers.Input((5,)), *hidden, keras.layers.Dense(head.family.params_size), head]
        model = keras.Sequential(layers)
        optimizer = {"class_name": job.optimizer, "config": {"learning_rate": 1e-3}}
        model.compile(keras.optimizers.get(optimizer), self.tools.loss)
        return model

    def model(self):
        """Returns a new model with the initial weights of the job."""
        model = self._built()
        model.set_weights(self.weights)
        return model

    def arguments(self, epochs=None):
        """Returns the arguments of `fit`. They are the same for Keras and for nllfit."""
        job, arrays = self.job, (self.x, self.y, self.sample_weight)[: 3 if self.job.weighted else 2]
        options = {"epochs": epochs or job.epochs, "verbose": 0, "shuffle": False}
        if job.validated:
            options["validation_data"] = arrays
        if job.source == "arrays":
            names = ("x", "y", "sample_weight")
            return options | dict(zip(names, arrays, strict=False)) | {"batch_size": job.batch_size}
        if job.source == "dataset":
            return options | {"x": tf.data.Dataset.from_tensor_slices(arrays).batch(job.batch_size)}
        return options | {"x": self._sequence(arrays)}

    def _sequence(self, arrays):
        size = self.job.batch_size

        class Batches(self.tools.keras.utils.Sequence):
            def __len__(self):
                return -(-len(arrays[0]) // size)

            def __getitem__(self, i):
                return tuple(a[i * size : (i + 1) * size] for a in arrays)

        return Batches()

    def fitted(self, epochs=None, **more):
        """Trains a new model with `nllfit.fit`. Returns its weights."""
        model = self.model()
        nllfit.fit(model, **self.arguments(epochs) | {"seed": self.job.seed, "compile": self.job.compile} | more)
        return model.get_weights()


def difference(found, expected):
    """Returns the largest difference between two lists of weights, divided by the largest weight."""
    return common.largest_difference(found, expected) / max(float(np.abs(b).max()) for b in expected)


def against_keras(shop):
    """Compares the weights after `nllfit.fit` with the weights after `model.fit`."""
    model = shop.model()
    model.fit(**shop.arguments())
    return difference(shop.fitted(), model.get_weights())


def stopped(shop):
    """Compares the weights of two runs: an error in a callback stops one run, the other ends after the same epoch."""
    last = random.Random(shop.job.seed).randrange(shop.job.epochs)

    class Raises(shop.tools.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == last:
                raise OSError("the disk is full")

    model, options = shop.model(), {"seed": shop.job.seed, "compile": "graph"}
    try:
        nllfit.fit(model, **shop.arguments() | options, callbacks=[Raises()])
    except OSError:
        return difference(model.get_weights(), shop.fitted(last + 1, compile="graph"))
    raise AssertionError("the exception of a callback was lost")


def resumed(shop):
    """Compares the weights after two calls of `fit` with the weights after an uninterrupted run."""
    half, model = shop.job.epochs // 2, shop.model()
    options = {"seed": shop.job.seed, "compile": "graph"}
    nllfit.fit(model, **shop.arguments(half) | options)
    nllfit.fit(model, **shop.arguments() | options, initial_epoch=half)
    return difference(model.get_weights(), shop.fitted(compile="graph"))


def in_threads(shop):
    """Trains two models at the same time. Compares their weights with the weights of a model that trains alone."""
    weights = {}
    threads = [threading.Thread(target=lambda i=i: weights.update({i: shop.fitted(compile="graph")})) for i in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    alone = shop.fitted(compile="graph")
    return difference(weights[0] + weights[1], alone + alone)


def _train_in_a_process(job, folder):
    shop = Workshop(job)
    backup = shop.tools.keras.callbacks.BackupAndRestore(f"{folder}/backup")
    weights = shop.fitted(epochs=40, compile="graph", callbacks=[backup])
    part = pathlib.Path(folder, "part.npz")
    np.savez(part, *weights)
    part.rename(pathlib.Path(folder, "weights.npz"))


def killed(shop):
    """Compares the weights of a run that was killed up to three times with the weights of an uninterrupted run."""
    draw, spawn = random.Random(shop.job.seed), multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory() as folder:
        for attempt in range(4):
            process = spawn.Process(target=_train_in_a_process, args=(shop.job, folder))
            process.start()
            process.join(draw.uniform(5, 20) if attempt < 3 else None)
            process.kill()
            process.join()
            if pathlib.Path(folder, "weights.npz").exists():
                break
        with np.load(pathlib.Path(folder, "weights.npz")) as file:
            weights = [file[name] for name in file.files]
    return difference(weights, shop.fitted(epochs=40, compile="graph"))


TRIALS = {"keras": against_keras, "stopped": stopped, "resumed": resumed, "threads": in_threads, "killed": killed}
_KILLED_EVERY = 25  # every 25th round runs the trial `killed`, which is slow because it starts processes


def round_of(number, keras):
    """Returns the name of the trial and the `Job` of round `number`.

    `keras` is the Keras version of rounds 0 to 3. The version changes every four rounds.
    """
    trial = "killed" if number % _KILLED_EVERY == _KILLED_EVERY - 1 else list(TRIALS)[number % (len(TRIALS) - 1)]
    return trial, Job.drawn(keras if number // (len(TRIALS) - 1) % 2 == 0 else 5 - keras, number)


def size():
    """Returns the memory of this process in MB, and the numbers of its open files and threads."""
    status = dict(line.split(":", 1) for line in pathlib.Path("/proc/self/status").read_text().splitlines())
    files = len(list(pathlib.Path("/proc/self/fd").iterdir()))
    return {"MB": int(status["VmRSS"].split()[0]) / 1024, "files": files, "threads": int(status["Threads"])}


def soak(arguments, folder):
    """Runs rounds until the time is over, but at least one. Writes the metrics after each round, and returns them.

    If the folder contains the metrics of an interrupted run, adds rounds to them.
    """
    end = time.monotonic() + 60 * arguments.minutes
    path, sizes = folder / "metrics.json", []
    previous = json.loads(path.read_text()) if path.exists() else {}
    rounds, failures = collections.Counter(previous.get("rounds")), previous.get("failures", [])
    worst = collections.defaultdict(float, previous.get("worst", {}))
    for number in itertools.count(previous.get("next_round", arguments.seed)):
        trial, job = round_of(number, arguments.keras)
        try:
            difference_of_weights = TRIALS[trial](Workshop(job))
            worst[trial] = float(np.maximum(worst[trial], difference_of_weights))  # Python's `max` could ignore NaN
            rounds[trial] += 1
            problem = f"weights differ by {difference_of_weights:.1e}" if not difference_of_weights < TOLERANCE else ""
        except Exception as error:  # an error of any type must not stop the next rounds
            problem = f"{type(error).__name__}: {error}"
        if problem:
            failures.append({"round": number, "trial": trial, "job": str(job), "problem": problem})
            print(f"round {number}, {trial}: {problem}", flush=True)
        sizes.append(size())
        metrics = {"rounds": rounds, "worst": worst, "failures": failures, "sizes": sizes, "next_round": number + 1}
        common.write_json(path, metrics)
        if time.monotonic() > end:
            return metrics


def show(metrics):
    """Prints the tables."""
    print(f"{'trial':10}{'rounds':>8}{'largest difference':>20}")
    for trial in metrics["rounds"]:
        print(f"{trial:10}{metrics['rounds'][trial]:8}{metrics['worst'][trial]:20.1e}")
    print(f"failures: {len(metrics['failures'])}\n\n{'after':10}{'MB':>8}{'files':>8}{'threads':>8}")
    sizes = metrics["sizes"]
    for i in sorted({int(fraction * (len(sizes) - 1)) for fraction in (0, 0.25, 0.5, 0.75, 1)}):
        print(f"{i + 1:<10}{sizes[i]['MB']:8.0f}{sizes[i]['files']:8}{sizes[i]['threads']:8}")


def main(argv=None):
    """Runs the soak test, or repeats one round of it. Returns the metrics."""
    parser = common.parser(__doc__, "benchmarks.soak")
    parser.add_argument("--minutes", type=float, default=10, help="(default: %(default)s)")
    parser.add_argument("--round", type=int, help="repeat this round, and nothing else")
    arguments = common.checked(parser.parse_args(argv), minutes=0)
    if arguments.round is not None:
        common.checked(arguments, round=0)
        trial, job = round_of(arguments.round, arguments.keras)
        difference_of_weights = TRIALS[trial](Workshop(job))
        print(f"{job}\n{trial}: weights differ by {difference_of_weights:.1e}")
        return {"worst": {trial: difference_of_weights}}
    with common.run_folder(arguments) as folder:
        metrics = soak(arguments, folder)
    show(metrics)
    return metrics


if __name__ == "__main__":
    common.run(main)
