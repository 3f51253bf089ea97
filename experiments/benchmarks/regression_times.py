"""What does a regression cost? `nllfit.regression` and `cox_regression` compared with statsmodels and lifelines.

    python -m experiments.benchmarks.regression_times                         # statsmodels, and lifelines if installed
    python -m experiments.benchmarks.regression_times --rows 1000 --fits 5

Each regression has five columns of artificial data. In one process, `nllfit` and the other package take turns to fit
and summarise it, `--fits` times each. The table shows the CPU seconds of the first fit with `nllfit`, and the median of
the later fits with each package. The first fit of a family is slower, because TensorFlow traces the family. All
later fits, with any number of rows, use this trace.

Expected: in `nllfit`, the first fit of a family takes one to three seconds longer than later fits. Later fits of 1,000
rows take about 0.1 to 0.2 s in `nllfit`, and 0.01 to 0.2 s in the other packages. With 100,000 rows, `nllfit` takes
about twice the time of the other packages.
"""

import importlib.util
import time
import warnings

import numpy as np
import pandas as pd
import statsmodels.api as sm
import statsmodels.formula.api as smf

import nllfit
from experiments import common

COLUMNS = list("abcde")
RIGHT = " + ".join(COLUMNS)


def table(n, seed):
    """Returns a table of counts, events and censored times that depend on five columns."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 5))
    u = x @ [0.3, -0.2, 0.1, 0.0, 0.2]
    time, end = np.exp(1 + u) * rng.weibull(1.5, n), 4.5 * rng.exponential(1.5, n)
    return pd.DataFrame(x, columns=COLUMNS).assign(
        count=rng.poisson(np.exp(u) * rng.gamma(2.0, 0.5, n)),
        hit=(rng.logistic(size=n) < u) * 1,
        time=np.minimum(time, end),
        seen=(time <= end) * 1,
    )


def fits(data):
    """Returns `{title: (ours, theirs)}`: two functions that fit and summarise a regression, each with one package."""
    count, hit, times = f"count ~ {RIGHT}", f"hit ~ {RIGHT}", f"Surv(time, seen) ~ {RIGHT}"
    survival_columns = data[[*COLUMNS, "time", "seen"]]
    pairs = {
        "Poisson": (
            lambda: nllfit.regression(count, data, "Poisson").summary(),
            lambda: smf.glm(count, data, family=sm.families.Poisson()).fit().summary(),
        ),
        "logit": (
            lambda: nllfit.regression(hit, data, "Bernoulli").summary(),
            lambda: smf.logit(hit, data).fit(disp=0).summary(),
        ),
        "NegativeBinomial": (
            lambda: nllfit.regression(count, data, "NegativeBinomial").summary(),
            lambda: smf.negativebinomial(count, data).fit(disp=0).summary(),
        ),
    }
    if importlib.util.find_spec("lifelines"):
        import lifelines

        pairs["Weibull AFT"] = (
            lambda: nllfit.regression(times, data, "Weibull").summary(),
            lambda: lifelines.WeibullAFTFitter().fit(survival_columns, "time", "seen").summary,
        )
        pairs["LogNormal AFT"] = (
            lambda: nllfit.regression(times, data, "LogNormal").summary(),
            lambda: lifelines.LogNormalAFTFitter().fit(survival_columns, "time", "seen").summary,
        )
        pairs["Cox"] = (
            lambda: nllfit.cox_regression(times, data).summary(),
            lambda: lifelines.CoxPHFitter().fit(survival_columns, "time", "seen").summary,
        )
    return pairs


def seconds(fit):
    """Returns the CPU seconds of a fit."""
    start = time.process_time()
    fit()
    return time.process_time() - start


def main(argv=None):
    """Runs the experiment. Returns the CPU seconds for each number of rows and each regression."""
    parser = common.parser(__doc__, "benchmarks.regression_times")
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 100_000], help="(default: %(default)s)")
    parser.add_argument("--fits", type=int, default=3, help="fits of each regression (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), fits=2, rows=30)
    metrics = {}
    with common.run_folder(arguments) as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n in arguments.rows:
            for title, pair in fits(table(n, arguments.seed)).items():
                times = np.array([[seconds(fit) for fit in pair] for _ in range(arguments.fits)])
                values = [times[0, 0], np.median(times[1:, 0]), np.median(times[1:, 1])]
                names = ("nllfit, first", "nllfit", "statsmodels or lifelines")
                metrics[f"{title}, {n} rows"] = dict(zip(names, values, strict=True))
                print(
                    f"{title:17} {n:>8} rows:",
                    ", ".join(f"{k} {v:.3f}" for k, v in metrics[f"{title}, {n} rows"].items()),
                )
        common.write_json(folder / "metrics.json", metrics)
    return metrics


if __name__ == "__main__":
    common.run(main)
