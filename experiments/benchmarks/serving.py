"""Does a model that is served without `nllfit` give the same answers, and how fast is it?

    python -m experiments.benchmarks.serving

For each named head, a small network is exported in three forms:

- Keras's `ExportArchive` writes a SavedModel that computes the mean, the 90% interval and the log-likelihood.
- `model.save` writes a `.keras` file, which this process loads again in safe mode.
- TensorFlow Lite converts the SavedModel to a model that computes the mean.

Another process, which cannot import `nllfit`, TensorFlow Probability or Keras, loads the SavedModels and answers for
1000 rows. The table shows, for each form, the largest difference from the answers of the original model, divided by the
largest answer (or by 1 if the largest answer is smaller). TensorFlow Lite is compared for one row. The table also shows
the milliseconds that two functions of the SavedModel take for 1 row and for 1000 rows: `serve` computes the mean, the
interval and the log-likelihood; `numbers` computes only the input of the head, which a network without a head would
return.

Expected: the differences are rounding errors. Intervals are slower for heads that find quantiles by a search.
"""

import contextlib
import io
import json
import subprocess
import sys
import warnings

import numpy as np
import tensorflow as tf

import nllfit
from experiments import common

HEADS = {
    "Bernoulli": ((), [1]),
    "Beta": ((), [0.3]),
    "Categorical": ((3,), 2),
    "Censored": (("Normal",), [0.0, np.inf]),
    "Gamma": ((), [2.0]),
    "Hurdle": (("LogNormal",), [0.0]),
    "Laplace": ((), [2.0]),
    "LogNormal": ((), [2.0]),
    "Mixture": (("Normal", 2), [2.0]),
    "MultivariateNormalTriL": ((2,), [1.0, 2.0]),
    "NegativeBinomial": ((), [2.0]),
    "Normal": ((), [2.0]),
    "OneHotCategorical": ((3,), [0.0, 1.0, 0.0]),
    "Poisson": ((), [2.0]),
    "StudentT": ((), [2.0]),
    "Truncated": (("Normal", 0.0), [2.0]),
    "ZeroInflated": (("Poisson",), [0.0]),
}  # the arguments of each head, and an outcome
WITHOUT_INTERVAL = ("Categorical", "MultivariateNormalTriL", "OneHotCategorical")  # outcomes are vectors or labels
ROWS = 1000

LOADER = """
import json, sys, time
for name in ("nllfit", "tensorflow_probability", "tf_keras", "keras"):
    sys.modules[name] = None  # an import of it fails
import numpy as np, tensorflow as tf
x, found = np.load(sys.argv[1])["x"], {}
for folder in sys.argv[2:]:
    served = tf.saved_model.load(folder)
    row = {"x": tf.constant(x)}
    answers = {name: value.numpy().tolist() for name, value in served.signatures["serve"](**row).items()}
    times = {}
    for endpoint in ("serve", "numbers"):
        for rows in (1, len(x)):
            few, seconds = {"x": tf.constant(x[:rows])}, []
            for _ in range(20):
                start = time.perf_counter()
                served.signatures[endpoint](**few)
                seconds.append(time.perf_counter() - start)
            times[f"{endpoint}_{rows}"] = 1000 * sorted(seconds)[10]
    found[folder] = {"answers": answers, "ms": times}
print(json.dumps(found))
"""


def built(tools, name, x, seed):
    """Returns three things: a model whose head is `name`, the part of this model before the head, and an outcome."""
    keras, (arguments, outcome) = tools.keras, HEADS[name]
    keras.utils.set_random_seed(seed)
    head = getattr(tools.heads, name)(*arguments)
    layers = [keras.layers.Input((3,)), keras.layers.Dense(8, "tanh"), keras.layers.Dense(head.family.params_size)]
    numbers = keras.Sequential(layers)
    model = keras.Sequential([numbers, head])
    model(x[:1])  # Keras 2 exports only models that have been called
    return model, numbers, np.array([outcome], "float32")


def answers(tools, model, name, x, outcome):
    """Returns the mean and the log-likelihood of each row, and the 90% interval if the head has one."""
    output, y = model(x), tf.repeat(outcome, tf.shape(x)[0], axis=0)
    values = {"mean": tf.convert_to_tensor(output)}
    values["log_likelihood"] = -nllfit.negative_log_likelihood(y, tools.distribution(output))
    if name not in WITHOUT_INTERVAL:
        values["low"], values["high"] = nllfit.interval(output, 0.9)
    return values


def export(tools, name, x, folder, seed):
    """Exports a model in all forms.

    Returns the answers of the model, and how much the answers of the `.keras` file and of TensorFlow Lite differ from
    them.
    """
    model, numbers, outcome = built(tools, name, x, seed)
    signature = [tf.TensorSpec([None, 3], tf.float32, name="x")]
    archive = tools.keras.export.ExportArchive()
    archive.track(model)
    archive.add_endpoint("serve", lambda x: answers(tools, model, name, x, outcome), signature)
    archive.add_endpoint("numbers", lambda x: {"numbers": numbers(x)}, signature)
    archive.add_endpoint("mean", lambda x: {"mean": tf.convert_to_tensor(model(x))}, signature)
    with contextlib.redirect_stdout(io.StringIO()):  # Keras prints a page about each archive
        archive.write_out(str(folder))
    expected = {key: value.numpy() for key, value in answers(tools, model, name, tf.constant(x), outcome).items()}
    file = f"{folder}.keras"
    model.save(file)
    loaded = tools.keras.models.load_model(file)
    again = {key: value.numpy() for key, value in answers(tools, loaded, name, tf.constant(x), outcome).items()}
    return expected, {".keras": difference(again, expected), "lite": lite(folder, x[:1], expected["mean"][:1])}


def lite(folder, x, mean):
    """Returns the error of TensorFlow Lite's mean, or the name of the exception if the conversion fails."""
    converter = tf.lite.TFLiteConverter.from_saved_model(str(folder), signature_keys=["mean"])
    try:
        content = converter.convert()
    except Exception as error:  # the conversion raises errors of many types
        return type(error).__name__
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a notice that the interpreter will move to another package
        interpreter = tf.lite.Interpreter(model_content=content)
    lite_mean = interpreter.get_signature_runner("mean")(x=x)["mean"]
    return difference({"mean": lite_mean}, {"mean": mean})


def difference(found, expected):
    """Returns the largest difference between two dicts of answers, relative to the size of the answers.

    For each item, the difference is `max |found - expected|` divided by `max(1, max |expected|)`. Infinite answers do
    not count in the divisor, and equal infinities do not differ. The result is NaN if an answer is NaN.
    """
    differences = []
    for key, value in expected.items():
        error = np.zeros(value.shape)
        np.subtract(found[key], value, out=error, where=np.not_equal(found[key], value))
        differences.append(np.abs(error).max() / np.abs(value).max(where=np.isfinite(value), initial=1.0))
    return float(np.max(differences))  # Python's `max` could ignore NaN


def elsewhere(folders, x, path):
    """Returns the answers and latencies of the SavedModels in a process that cannot import `nllfit`."""
    np.savez(path, x=x)
    command = [sys.executable, "-c", LOADER, str(path), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=path.parent)
    if done.returncode:
        raise ValueError(f"The process that serves failed: {common.failure(done)}")
    return json.loads(done.stdout.splitlines()[-1])


def measured(tools, names, folder, seed):
    """Returns the table, which has a row for each head."""
    x = np.random.default_rng(seed).normal(size=[ROWS, 3]).astype("float32")
    exported = {name: export(tools, name, x, folder / name, seed) for name in names}
    served = elsewhere([folder / name for name in names], x, folder / "x.npz")
    table = {}
    for name, (expected, differences) in exported.items():
        result = served[str(folder / name)]
        table[name] = {"SavedModel": difference(result["answers"], expected), **differences, **result["ms"]}
    return table


def show(table):
    """Prints the table."""
    columns = list(next(iter(table.values())))
    print(f"{'':24}" + "".join(f"{column:>16}" for column in columns))
    for name, row in table.items():
        cells = (v if isinstance(v, str) else f"{v:.1e}" if c in columns[:3] else f"{v:.2f}" for c, v in row.items())
        print(f"{name:24}" + "".join(f"{cell:>16}" for cell in cells))


def main(argv=None):
    """Runs the benchmark and returns the table."""
    parser = common.parser(__doc__, "benchmarks.serving")
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=list(HEADS), help="(default: all)")
    arguments = common.checked(parser.parse_args(argv))
    with common.run_folder(arguments) as folder:
        table = measured(common.toolkit(arguments.keras), arguments.heads, folder / "unfinished", arguments.seed)
        common.write_json(folder / "metrics.json", table)
    show(table)
    return table


if __name__ == "__main__":
    common.run(main)
