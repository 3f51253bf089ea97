"""How good are predicted densities? The usual benchmark of published methods, in one command.

    python -m experiments.benchmarks.uci --data FOLDER

The folder contains tables NAME.txt: numbers separated by blanks, with the target in the last column. Each table is
split at random into 90% training and 10% test rows. A table has 20 splits, or 5 if it has more than 40,000 rows. The
splits equal those of Hernandez-Lobato and Adams (2015). A `nllfit.tabular.DistributionRegressor` is fitted to each
split. From the training rows, the regressor selects a network, a weight decay and a factor for the predicted scales.
The results are four scores of the test rows:

- the mean negative log-likelihood (NLL), in nats;
- the root mean squared error (RMSE), in the unit of the target;
- the continuous ranked probability score (CRPS), in the unit of the target;
- the calibration error: the area between the distribution function of the PITs and the uniform distribution function.

They are shown in two tables. In *Normal heads*, all heads are Normal. In *free*, the head is a mixture of Normals if
the mixture is better on held-out training rows. The tables are separate because narrow spikes in a flexible density can
lower the NLL of rounded targets without bound. If the folder contains a `published.json`, the results in this file are
shown next to ours. The networks use Keras 3.

Expected in *Normal heads*: an NLL of 2.62 on concrete, 0.21 on energy, -1.41 on kin8nm, -6.5 on naval and 2.44 on
protein. Each of these NLLs is lower than all published results. Expected in *free*: an NLL of -6.9 on naval and 1.83 on
protein.

Each split is saved when it is done, so the same command with `--out` resumes an interrupted run.
"""

import functools
import json
import multiprocessing
import os
import pathlib
import signal
import textwrap
import time

import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure

from experiments import common, uci_tables
from nllfit.tabular import DistributionRegressor

SCORES = "nll", "rmse", "crps", "calibration_error"
DISTRIBUTIONS = {"normal": ["Normal"], "free": ["Normal", "Mixture"]}


def fit_split(x, y, train, test, seed):
    """Fits one split. Returns a dict with the elapsed `seconds` and an entry for each result table.

    The entry of a result table has the scores of the test rows and the name of the selected model (`chosen`).
    """
    start = time.perf_counter()
    result = {}
    # With `warm_start`, the second fit reuses the networks of the first.
    model = DistributionRegressor(network=["smooth", "steep"], warm_start=True, random_state=seed)
    for table, distributions in DISTRIBUTIONS.items():
        model.set_params(distribution=distributions).fit(x[train], y[train])
        evaluation = model.evaluate(x[test], y[test])
        result[table] = {score: float(getattr(evaluation, score)) for score in SCORES} | {"chosen": chosen(model)}
    return result | {"seconds": time.perf_counter() - start}


def chosen(model):
    """Returns a text that names the selected network and its settings."""
    best = model.trials_[0]
    return f"{best.network} {best.regularization} {best.distribution.lower()}, scales x {best.spread:.2f}"


def fit_table(arguments, folder, name, table):
    """Fits all splits of a table and returns their scores. The scores of a split are saved when it is done."""
    (x, y), scores, splits = table, [], list(uci_tables.splits(len(table[0]), arguments.splits))
    for i, (train, test) in enumerate(splits):
        split = functools.partial(fit_split, x, y, train, test, arguments.seed + i)
        scores.append(common.kept(folder / "splits" / f"{name}-{i:02}.json", split))
        normal, free = scores[-1]["normal"], scores[-1]["free"]
        print(f"{name}, split {i + 1}/{len(splits)}: NLL {normal['nll']:.3f}, free {free['nll']:.3f}", flush=True)
    return scores


def read_published(path):
    """Returns the published scores `{score: {table: {method: value}}}`, or an empty dict if there is no such file."""
    try:
        published = json.loads(path.read_text(encoding="utf-8-sig")) if path.exists() else {}
        tables_of_scores = [published[score] for score in ("test_nll", "test_rmse") if score in published]
        numbers = [
            value for by_table in tables_of_scores for methods in by_table.values() for value in methods.values()
        ]
        if not isinstance(published, dict) or not all(isinstance(value, (int, float)) for value in numbers):
            raise ValueError("a score is not a number.")
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(
            f'{path} is not JSON such as {{"test_nll": {{"concrete": {{"a method": 2.6}}}}}}: {error}'
        ) from None
    return published


def start_worker():
    """Initialises a worker process. The worker ignores Ctrl-C: the parent process receives it too, and ends.

    Each operation of TensorFlow uses only one thread, because the worker processes share the cores.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    tf.config.threading.set_intra_op_parallelism_threads(1)


def summary(splits):
    """Returns the mean of each score over the splits, and its standard error.

    The scores of the table *Normal heads* are at the top level. The scores of the table *free* are under "free".
    """

    def mean_scores(table):
        scores = {}
        for score in SCORES:
            values = np.array([split[table][score] for split in splits])
            scores[score] = values.mean()
            scores[f"{score}_se"] = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else None
        chosen = [split[table]["chosen"].partition(",")[0] for split in splits]
        return scores | {"chosen": {name: chosen.count(name) for name in sorted(set(chosen))}}

    shared = {"seconds": sum(split["seconds"] for split in splits), "num_splits": len(splits)}
    return mean_scores("normal") | shared | {"free": mean_scores("free") | shared}


def print_table(title, rows, published):
    """Prints a line for each data set: the scores of nllfit, standard errors, and the best published NLL and RMSE."""
    print(f"\n{title:26} {'NLL':>16} {'RMSE':>18} {'CRPS':>18} {'calibration':>15}   best published NLL, RMSE")
    for name, row in rows.items():
        scores = [f"{row[score]:9.4g} ± {row[f'{score}_se'] or np.nan:<6.2g}" for score in SCORES]
        best = []
        for score in ("test_nll", "test_rmse"):
            methods = published.get(score, {}).get(name)
            best.append(f"{min(methods.values()):g} ({min(methods, key=methods.get)})" if methods else "-")
        print(f"{name[:26]:26} {' '.join(scores)}   {', '.join(best)}")


def plot(metrics, published, path):
    """Draws a panel for each data set. It shows the test NLLs of nllfit +- 2 standard errors, and published NLLs."""
    figure = Figure(figsize=(3.2 * len(metrics), 3.6), layout="constrained")
    axes = figure.subplots(1, len(metrics), squeeze=False)[0]
    for ax, (name, row) in zip(axes, metrics.items(), strict=True):
        methods = published.get("test_nll", {}).get(name, {})
        ours = {"nllfit, Normal": row, "nllfit, free": row["free"]}
        ax.plot(list(methods.values()), list(methods), "o", color="0.5")
        for label, table in ours.items():
            ax.errorbar(table["nll"], [label], xerr=2 * (table["nll_se"] or 0), fmt="o", color="C0", capsize=3)
        ax.set_title(textwrap.fill(name, 18), fontsize="medium")
        ax.set_xlabel("test NLL (nats)")
        ax.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=120)


def main(argv=None):
    """Runs the benchmark and returns its metrics."""
    parser = common.parser(__doc__, "benchmarks.uci")
    parser.set_defaults(keras=3)
    parser.add_argument("--data", metavar="FOLDER", required=True, help="the folder of the tables NAME.txt")
    parser.add_argument("--only", metavar="NAME,...", type=lambda names: names.split(","), help="only these tables")
    parser.add_argument("--splits", type=int, default=20, help="the most splits of each table (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), splits=1, keras=3)
    data = uci_tables.read_folder(arguments.data, arguments.only)
    published = read_published(pathlib.Path(arguments.data, "published.json"))
    with common.run_folder(arguments) as folder:
        (folder / "splits").mkdir(exist_ok=True)
        largest_first = sorted(data, key=lambda name: -data[name][0].size)
        fit = functools.partial(fit_table, arguments, folder)
        workers = min(len(data), os.cpu_count() or 1)
        if workers == 1:
            done = dict(zip(largest_first, map(fit, largest_first, map(data.get, largest_first)), strict=True))
        else:  # one process fits all splits of a table, so that it compiles the table's networks only once
            with multiprocessing.get_context("spawn").Pool(workers, start_worker) as pool:
                results = pool.starmap(fit, [(name, data[name]) for name in largest_first], chunksize=1)
            done = dict(zip(largest_first, results, strict=True))
        metrics = {name: summary(done[name]) for name in data}
        print_table("Normal heads", metrics, published)
        print_table("free", {name: row["free"] for name, row in metrics.items()}, published)
        plot(metrics, published, folder / "nll.png")
        common.write_json(folder / "metrics.json", metrics)
    return metrics


if __name__ == "__main__":
    common.run(main)
