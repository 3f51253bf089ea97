"""What is a likelihood, where is its maximum, and which family fits a sample best?

    python -m experiments.likelihood
    python -m experiments.likelihood --data sizes.csv --column serving --families Gamma Weibull LogNormal Normal

The first figure shows two simple likelihoods. For a Bernoulli and the sample 0, 0, 0, 1, 0, the likelihood is
theta (1 - theta)^4, with its maximum at theta = 1/5. For a Normal and the sample -1, 0, 1, the likelihood is a function
of mu and sigma, with its maximum at mu = 0 and sigma = sqrt(2/3). Then several families are fitted to a real sample and
ranked by AIC. The default sample is from scikit-learn's breast cancer data: the mean area of the cell nuclei in each of
569 breast masses.

Expected for the default sample: the skewed InverseGamma is the best family, and the Normal is far behind.
"""

import csv
import math
import pathlib

import numpy as np
import tensorflow_probability as tfp
from matplotlib.figure import Figure
from sklearn.datasets import load_breast_cancer

import nllfit
from experiments import common, uci_tables
from nllfit import plots

tfd = tfp.distributions

FAMILIES = ["Normal", "LogNormal", "Gamma", "Weibull", "InverseGaussian", "InverseGamma", "Gumbel", "Exponential"]


def read_sample(path, column):
    """Reads a CSV column, or scikit-learn's data if `path` is None.

    Returns the name of the sample, its numbers, and how many rows have no number.
    """
    if path is None and column is None:
        bunch = load_breast_cancer()
        return "mean area", bunch.data[:, list(bunch.feature_names).index("mean area")], 0
    if path is None or column is None:
        raise ValueError("--data and --column go together: give a file, and the name of its column with the sample.")
    if not pathlib.Path(path).is_file():
        raise ValueError(f"--data {path} is not a file: give a CSV file with a header line.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(uci_tables.lines(file))
            names, texts = reader.fieldnames or [], [row.get(column) for row in reader]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is not a CSV file: {error}.") from None
    if names.count(column) > 1:
        raise ValueError(f"{path} has {names.count(column)} columns {column!r}: give them different names.")
    if column not in names:
        raise ValueError(f"{path} has no column {column!r}; its columns are {', '.join(names) or 'none: it is empty'}.")
    numbers = [number(text, f"{path}, row {row}, column {column!r}") for row, text in enumerate(texts, 1)]
    sample = np.array([value for value in numbers if not math.isnan(value)])
    if not len(sample):
        raise ValueError(f"{path} has no number in column {column!r}, which has {len(numbers)} rows.")
    return column, sample, len(numbers) - len(sample)


def number(text, location):
    """Returns the number in a cell. An empty cell, and the texts NA, NaN and null, become NaN."""
    if text is None or text.strip().lower() in ("", "na", "nan", "null"):
        return math.nan
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{location}: {text!r} is not a number.") from None


def lesson(path):
    """Draws the two simple likelihoods side by side and returns their maxima."""
    theta, mu, sigma = np.linspace(0.0, 1.0, 401), np.linspace(-2.0, 2.0, 301), np.linspace(0.3, 2.3, 301)
    figure, (left, right) = new_figure(columns=2)
    bernoulli = nllfit.maximum_likelihood(tfd.Bernoulli, [0, 0, 0, 1, 0])
    marks = {
        "estimate": bernoulli.parameters["probs"],
        "interval": bernoulli.confidence_intervals(method="profile")["probs"],
        "interval_name": "95% profile-likelihood\ninterval",
    }
    plots.likelihood_curve(left, tfd.Bernoulli(probs=theta), [0, 0, 0, 1, 0], theta, name="theta", **marks)
    left.set_title("Sample 0, 0, 0, 1, 0 under Bernoulli(theta)")
    normal = nllfit.maximum_likelihood(tfd.Normal, [-1.0, 0.0, 1.0])
    grid, best = tfd.Normal(mu[None, :], sigma[:, None]), (normal.parameters["loc"], normal.parameters["scale"])
    plots.likelihood_surface(right, grid, [-1.0, 0.0, 1.0], mu, sigma, names=("mu", "sigma"), estimate=best)
    right.set_title("Sample -1, 0, 1 under Normal(mu, sigma)")
    figure.savefig(path)
    return {"bernoulli": bernoulli.parameters, "normal": normal.parameters}


def plot(comparison, y, name, folder):
    """Draws the best families with the sample, and the profile likelihoods of the best family's parameters."""
    shown = [estimate for estimate in comparison.estimates if estimate.converged][:4]
    if not shown:
        return
    figure, ax = new_figure()
    for estimate in shown:
        plots.fitted_density(ax, estimate, y, label=f"{estimate.family.label}, AIC {estimate.aic:.1f}")
    best_of = f"the {len(shown)} lowest AICs of {len(comparison.estimates)} families"
    ax.set(xlabel=name, title=f"{name}, n = {len(y)}: {best_of if len(shown) > 1 else shown[0].family.label}")
    figure.savefig(folder / "fit.png")
    best = shown[0]
    figure, axes = new_figure(columns=len(best.parameters))
    figure.suptitle(f"{best.family.label} fitted to {name}: profile likelihood")
    for ax, parameter in zip(np.atleast_1d(axes), best.parameters, strict=True):
        plots.profile_curve(ax, best, parameter)
    figure.savefig(folder / "profiles.png")


def new_figure(columns=1):
    """Returns a new figure and its axes."""
    figure = Figure(figsize=(5.5 * columns + 1, 4.5), dpi=120, layout="constrained")
    return figure, figure.subplots(1, columns)


def main(argv=None):
    """Runs the experiment and returns its metrics."""
    parser = common.parser(__doc__, "likelihood")
    parser.add_argument("--data", metavar="FILE", help="a CSV file with a header line (default: scikit-learn's data)")
    parser.add_argument("--column", help="the column of FILE with the sample")
    parser.add_argument("--families", nargs="+", default=FAMILIES, help="classes of tfp.distributions")
    arguments = common.checked(parser.parse_args(argv))
    name, y, missing = read_sample(arguments.data, arguments.column)
    print(f"{name}, n = {len(y)}" + (f"; {missing} rows without a number are left out" if missing else ""))
    comparison = nllfit.compare(y, arguments.families)
    with common.run_folder(arguments) as folder:
        metrics = lesson(folder / "likelihood.png")
        metrics["families"] = {
            e.family.label: e.parameters | {"log_likelihood": e.log_likelihood, "aic": e.aic, "bic": e.bic}
            for e in comparison.estimates
        }
        plot(comparison, y, name, folder)
        common.write_json(folder / "metrics.json", metrics)
        print(f"\n{comparison.summary()}\n\n{comparison.estimates[0].summary()}")
    return metrics


if __name__ == "__main__":
    common.run(main)
