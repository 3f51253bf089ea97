"""Which package predicts the best distributions, and how fast? `DistributionRegressor` and others on the same splits.

    python -m experiments.benchmarks.peers --data FOLDER

The tables are the files of the folder and three data sets: `diabetes` from scikit-learn, and `fair` and `randhie` from
statsmodels. A file NAME.txt contains numbers separated by blanks. A file NAME.csv has a header. Its text fields are
categories, and its empty fields are missing values. The target is the last column. Each split of a table has 90%
training and 10% test rows. The number of splits is `--splits`, but at most 20, and at most 5 for a table with more than
40,000 rows. Every package gets the same rows. Categories become indicators. A missing value becomes the median of its
column, and an indicator marks it. Rows without a target are left out.

NGBoost and CatBoost (`RMSEWithUncertainty`) predict a Normal, with early stopping. Treeffuser draws samples.
LightGBM, scikit-learn's gradient boosting and quantile-forest predict quantiles. Packages that are not installed are
skipped. The table of results has these columns:

- `nll`: the mean negative log-likelihood, in nats, if the package predicts a density;
- `crps`, `pinball_5`, `pinball_50`, `pinball_95`: the CRPS and the pinball losses in the unit of the target, computed
  from the quantiles at 1%, 2%, ..., 99%;
- `coverage_90`: the coverage of the central 90% interval;
- `fit_seconds`: wall-clock time;
- `fit_cpu`, `predict_cpu`: the CPU seconds of all cores.

Expected: the CRPS of `DistributionRegressor` is the lowest on most tables. Most other packages take fewer CPU seconds.

Each fit is saved when it is done, so the same command with `--out` resumes an interrupted run.
"""

import dataclasses
import functools
import importlib.util
import pathlib
import time
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats
from sklearn import datasets
from sklearn.ensemble import HistGradientBoostingRegressor

from experiments import common, uci_tables
from nllfit.tabular import DistributionRegressor
from nllfit.tabular.column_encoding import Columns

LEVELS = np.arange(1, 100) / 100
FEW = (0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98)  # the levels of packages that fit one model per level
SCORES = "nll", "crps", "pinball_5", "pinball_50", "pinball_95", "coverage_90", "fit_seconds", "fit_cpu", "predict_cpu"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The quantiles `[n, 99]` of the test rows. `log_density` is a function of outcomes, or None."""

    quantiles: np.ndarray
    log_density: Callable[[np.ndarray], np.ndarray] | None = None


def ours(distribution, x, y, seed):
    """Fits a `DistributionRegressor`. Only the distribution may differ from its default."""
    model = DistributionRegressor(distribution, random_state=seed).fit(x, y)

    def predict(x):
        def log_density(outcomes):
            predicted = model.predict_distribution(x)
            return np.asarray(predicted.log_prob(outcomes[:, None]))

        is_discrete = model.predictor_.target.is_discrete
        return Prediction(model.predict_quantile(x, LEVELS), None if is_discrete else log_density)

    return predict


def normal(mean, scale):
    """Returns the `Prediction` of Normal distributions."""
    normals = stats.norm(mean, np.maximum(scale, 1e-12))
    return Prediction(stats.norm.ppf(LEVELS) * normals.std()[:, None] + normals.mean()[:, None], normals.logpdf)


def ngboost(x, y, seed):
    """Fits NGBoost with a Normal. The last fifth of the rows selects the number of trees."""
    from ngboost import NGBRegressor

    cut = len(x) * 4 // 5
    model = NGBRegressor(n_estimators=2000, random_state=seed, verbose=False)
    model.fit(x[:cut], y[:cut], X_val=x[cut:], Y_val=y[cut:], early_stopping_rounds=50)

    def predict(x):
        parameters = model.pred_dist(x).params
        return normal(parameters["loc"], parameters["scale"])

    return predict


def treeffuser(x, y, seed):
    """Fits Treeffuser. Its predictions are 200 samples per row."""
    from treeffuser import Treeffuser

    model = Treeffuser(seed=seed)
    model.fit(x, y)
    return lambda x: Prediction(
        np.quantile(np.reshape(model.sample(x, 200, verbose=False), [200, len(x)]), LEVELS, 0).T
    )


def catboost(x, y, seed):
    """Fits CatBoost with a Normal. The last fifth of the rows selects the number of trees."""
    from catboost import CatBoostRegressor

    cut = len(x) * 4 // 5
    model = CatBoostRegressor(
        loss_function="RMSEWithUncertainty", random_seed=seed, verbose=False, allow_writing_files=False
    )
    model.fit(x[:cut], y[:cut], eval_set=(x[cut:], y[cut:]), early_stopping_rounds=50)

    def predict(x):
        mean, variance = model.predict(x).T
        return normal(mean, np.sqrt(variance))

    return predict


def quantile_forest(x, y, seed):
    """Fits a quantile regression forest."""
    from quantile_forest import RandomForestQuantileRegressor

    model = RandomForestQuantileRegressor(200, min_samples_leaf=5, random_state=seed).fit(x, y)
    return lambda x: Prediction(model.predict(x, quantiles=LEVELS.tolist()))


def lightgbm(x, y, seed):
    """Fits LightGBM, one model for each of a few quantile levels."""
    from lightgbm import LGBMRegressor

    models = [LGBMRegressor(objective="quantile", alpha=q, random_state=seed, verbose=-1).fit(x, y) for q in FEW]
    return functools.partial(between, models)


def gradient_boosting(x, y, seed):
    """Fits scikit-learn's gradient boosting, one model for each of a few quantile levels."""
    make = functools.partial(HistGradientBoostingRegressor, loss="quantile", early_stopping=True, random_state=seed)
    return functools.partial(between, [make(quantile=q).fit(x, y) for q in FEW])


def between(models, x):
    """Returns a `Prediction` that combines several models, one for each level in `FEW`, by interpolation."""
    quantiles = np.sort([model.predict(x) for model in models], axis=0).T
    return Prediction(np.stack([np.interp(stats.norm.ppf(LEVELS), stats.norm.ppf(FEW), row) for row in quantiles]))


PEERS = {
    "nllfit": (functools.partial(ours, None), "nllfit"),
    "nllfit auto": (functools.partial(ours, "auto"), "nllfit"),
    "NGBoost": (ngboost, "ngboost"),
    "Treeffuser": (treeffuser, "treeffuser"),
    "CatBoost": (catboost, "catboost"),
    "quantile-forest": (quantile_forest, "quantile_forest"),
    "LightGBM": (lightgbm, "lightgbm"),
    "gradient boosting": (gradient_boosting, "sklearn"),
}


def scored(fit, x, y, train, test, seed):
    """Returns the scores of a package on the test rows, and its times."""
    start, cpu = time.perf_counter(), time.process_time()
    predict = fit(x[train], y[train], seed)
    seconds = {"fit_seconds": time.perf_counter() - start, "fit_cpu": time.process_time() - cpu}
    cpu = time.process_time()
    predicted, outcomes = predict(x[test]), y[test]
    seconds["predict_cpu"] = time.process_time() - cpu
    errors = outcomes[:, None] - predicted.quantiles
    pinball = np.maximum(LEVELS * errors, (LEVELS - 1) * errors).mean(0)
    pinball_at_levels = {f"pinball_{round(100 * q)}": pinball[round(100 * q) - 1] for q in (0.05, 0.5, 0.95)}
    inside = (errors[:, 4] >= 0) & (errors[:, 94] <= 0)
    nll = None if predicted.log_density is None else -float(np.mean(predicted.log_density(outcomes)))
    return {"nll": nll, "crps": 2 * pinball.mean(), **pinball_at_levels, "coverage_90": inside.mean(), **seconds}


def read_tables(folder, rows=10**6):
    """Returns the tables by name: numbers `[n, m]` and the target `[n]`. Keeps at most `rows` random rows of each."""
    import statsmodels.api as sm

    if not pathlib.Path(folder).is_dir():
        raise ValueError(f"--data {folder} is not a folder: give a folder of tables, .csv or .txt; it may be empty.")
    read = {"diabetes": datasets.load_diabetes(return_X_y=True)}
    for name in ("fair", "randhie"):
        data = getattr(sm.datasets, name).load_pandas()
        read[name] = _as_arrays(pd.concat([data.exog, data.endog], axis=1))
    for path in sorted(path for path in pathlib.Path(folder).iterdir() if path.suffix in (".csv", ".txt")):
        if path.stem in read:
            raise ValueError(f"--data {folder} holds {path.name}, but {path.stem} is another table: rename the file.")
        x, y = _read_csv(path) if path.suffix == ".csv" else uci_tables.read_table(path)
        read[path.stem] = x, y.reshape(-1)
    return {name: _random_rows(*read[name], rows) for name in sorted(read)}


def _read_csv(path):
    """Returns the inputs and the target of a table with a header."""
    try:
        frame = pd.read_csv(path)
        target = frame.iloc[:, -1].to_numpy(float)
    except ValueError as error:  # the errors of pandas are ValueErrors
        raise ValueError(
            f"{path} is not a table in UTF-8 with a header, commas and a numeric last column: {error}"
        ) from None
    uci_tables.check(path, frame.shape[1] - 1, target[~np.isnan(target)])
    try:
        return _as_arrays(frame)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _random_rows(x, y, rows):
    chosen = np.random.default_rng(0).permutation(len(x))[:rows] if rows < len(x) else slice(None)
    return x[chosen], y[chosen]


def _as_arrays(frame):
    frame = frame[frame.iloc[:, -1].notna()]
    inputs = frame.iloc[:, :-1]
    return Columns.of(inputs).matrix(inputs), frame.iloc[:, -1].to_numpy(float)


def print_table(name, rows):
    """Prints the mean scores of each package on the data table `name`. The package with the best CRPS comes first."""
    print(f"\n{name:20}" + "".join(f"{score:>13}" for score in SCORES))
    for peer, row in sorted(rows.items(), key=lambda item: item[1]["crps"]):
        print(f"{peer:20}" + "".join(f"{np.nan if row[score] is None else row[score]:13.4g}" for score in SCORES))


def main(argv=None):
    """Runs the comparison and returns its metrics."""
    parser = common.parser(__doc__, "benchmarks.peers")
    parser.set_defaults(keras=3)
    names = lambda text: text.split(",")  # noqa: E731
    parser.add_argument("--data", metavar="FOLDER", required=True, help="the folder of the tables")
    parser.add_argument("--only", metavar="NAME,...", type=names, help="only these tables")
    parser.add_argument("--peers", metavar="NAME,...", type=names, help="only these peers")
    parser.add_argument("--rows", type=int, default=10**6, help="the most random rows of each table (default: all)")
    parser.add_argument("--splits", type=int, default=5, help="splits of each table (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), splits=1, rows=20, keras=3)
    tables = read_tables(arguments.data, arguments.rows)
    chosen = arguments.only or list(tables)
    peers = arguments.peers or [name for name, (_, module) in PEERS.items() if importlib.util.find_spec(module)]
    for flag, named, available in (("only", chosen, tables), ("peers", peers, PEERS)):
        unknown = [name for name in named if name not in available]
        if unknown:
            raise ValueError(f"--{flag} names {', '.join(unknown)}: choose among {', '.join(available)}.")
    absent = [name for name in peers if not importlib.util.find_spec(PEERS[name][1])]
    if absent:
        raise ValueError(f"--peers names {absent[0]}: install the package of the module {PEERS[absent[0]][1]} first.")
    metrics = {}
    with common.run_folder(arguments) as folder:
        (folder / "fits").mkdir(exist_ok=True)
        for name in chosen:
            (x, y), rows = tables[name], {}
            for peer in peers:
                results = []
                for i, (train, test) in enumerate(uci_tables.splits(len(x), arguments.splits)):
                    fit_and_score = functools.partial(scored, PEERS[peer][0], x, y, train, test, arguments.seed + i)
                    results.append(common.kept(folder / "fits" / f"{name}-{peer}-{i:02}.json", fit_and_score))
                rows[peer] = {score: _mean([split[score] for split in results]) for score in SCORES}
            metrics[name] = rows
            print_table(name, rows)
        common.write_json(folder / "metrics.json", metrics)
    return metrics


def _mean(values):
    return None if None in values else float(np.mean(values))


if __name__ == "__main__":
    common.run(main)
