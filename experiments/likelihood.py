"""What is a likelihood, where is its maximum, and which family fits a sample best?

    python -m experiments.likelihood
    python -m experiments.likelihood --data sizes.csv --column serving --families Gamma Weibull LogNormal Normal

First the two figures of the lesson. The sample 0, 0, 0, 1, 0 under a Bernoulli has the likelihood theta (1 - theta)^4,
largest at theta = 1/5; the sample -1, 0, 1 under a Normal has a surface, highest at mu = 0, sigma = sqrt(2/3). Then a
real sample is fitted by several families, ranked by AIC: by default scikit-learn's breast cancer data, the mean area of
569 cell nuclei, where the skewed InverseGamma comes first and the Normal far behind.
"""

import argparse
import csv
import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import tensorflow_probability as tfp
from sklearn.datasets import load_breast_cancer

import nllfit
from nllfit import plots

tfd = tfp.distributions

FAMILIES = ["Normal", "LogNormal", "Gamma", "Weibull", "InverseGaussian", "InverseGamma", "Gumbel", "Exponential"]


def parse(argv):
    parser = argparse.ArgumentParser(prog="python -m experiments.likelihood", description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a CSV file with a header line")
    parser.add_argument("--column", help="the column of --data that holds the sample")
    parser.add_argument("--families", nargs="+", default=FAMILIES, help="classes of tfp.distributions")
    parser.add_argument("--out", type=Path, default=Path("runs/likelihood"), help="the run folder")
    arguments = parser.parse_args(argv)
    if (arguments.data is None) != (arguments.column is None):
        parser.error("--data and --column go together: the file, and the column that holds the sample")
    return arguments


def read_column(path, column):
    """The numbers of one column of a CSV file; a `ValueError` says what is wrong with it."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            names, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} cannot be read as a CSV file: {getattr(error, 'strerror', None) or error}.") from None
    if column not in names:
        raise ValueError(f"{path} has no column {column!r}: it has {', '.join(names) or 'no header line'}.")
    try:
        return np.array([float(row[column]) for row in rows])
    except (TypeError, ValueError):
        line = next(line for line, row in enumerate(rows, 2) if not _is_number(row[column]))
        text = rows[line - 2][column]
        raise ValueError(f"{path}, line {line}: {text!r} in column {column!r} is no number.") from None


def _is_number(text):
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


def bernoulli_figure():
    y, theta = [0, 0, 0, 1, 0], np.linspace(0.0, 1.0, 401)
    fit = nllfit.maximum_likelihood(tfd.Bernoulli, y)
    interval = fit.confidence_intervals(method="profile")["probs"]
    figure, ax = plt.subplots(layout="constrained")
    plots.likelihood_curve(
        ax, tfd.Bernoulli(probs=theta), y, theta, name="theta", estimate=fit.parameters["probs"], interval=interval
    )
    ax.set_title("Sample 0, 0, 0, 1, 0: theta (1 - theta)^4")
    return figure, fit


def normal_figure():
    y, mu, sigma = [-1.0, 0.0, 1.0], np.linspace(-2.0, 2.0, 301), np.linspace(0.3, 2.3, 301)
    fit = nllfit.maximum_likelihood(tfd.Normal, y)
    figure, ax = plt.subplots(layout="constrained")
    best = fit.parameters["loc"], fit.parameters["scale"]
    grid = tfd.Normal(mu[None, :], sigma[:, None])
    plots.likelihood_surface(ax, grid, y, mu, sigma, names=("mu", "sigma"), estimate=best)
    ax.set_title("Sample -1, 0, 1 under Normal(mu, sigma)")
    return figure, fit


def sample_figures(comparison, y, name):
    best = comparison.estimates[0]
    figure, ax = plt.subplots(layout="constrained")
    for estimate in comparison.estimates[:4]:
        plots.fitted_density(ax, estimate, y)
    ax.set(xlabel=name, title=f"The best of {len(comparison.estimates)} families")
    scalars = [parameter for parameter, value in best.parameters.items() if np.ndim(value) == 0]
    profiles, axes = plt.subplots(1, len(scalars), figsize=(5 * len(scalars), 4), layout="constrained", squeeze=False)
    for ax, parameter in zip(axes[0], scalars, strict=True):
        plots.profile_curve(ax, best, parameter)
    profiles.suptitle(f"{best.family.name}: profile likelihood of each parameter")
    return figure, profiles


def run(arguments):
    if arguments.data is None:
        data = load_breast_cancer()
        name, y = "mean area", data.data[:, list(data.feature_names).index("mean area")]
    else:
        name, y = arguments.column, read_column(arguments.data, arguments.column)
    comparison = nllfit.compare(y, arguments.families)
    print(f"{name}, n = {len(y)}\n\n{comparison.summary()}\n\n{comparison.estimates[0].summary()}\n")
    figures = {}
    figures["bernoulli"], bernoulli = bernoulli_figure()
    figures["normal"], normal = normal_figure()
    figures["fit"], figures["profiles"] = sample_figures(comparison, y, name)
    metrics = {
        "bernoulli": bernoulli.parameters,
        "normal": normal.parameters,
        "families": {
            e.family.name: {"parameters": e.parameters, "log_likelihood": e.log_likelihood, "aic": e.aic, "bic": e.bic}
            for e in comparison.estimates
        },
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    for title, figure in figures.items():
        figure.savefig(arguments.out / f"{title}.png", dpi=120)
        plt.close(figure)
    config = {key: str(value) if isinstance(value, Path) else value for key, value in vars(arguments).items()}
    (arguments.out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (arguments.out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    print(f"Figures, config.json and metrics.json are in {arguments.out}")
    return metrics


def main(argv=None):
    arguments = parse(argv)
    try:
        return run(arguments)
    except ValueError as error:
        sys.exit(f"experiments.likelihood: {error}")


if __name__ == "__main__":
    main()
