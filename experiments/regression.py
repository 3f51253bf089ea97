"""What does a regression with squared error assume, and what does it leave out?

    python -m experiments.regression

Three models are fitted to a line with Normal noise, y = f(x) + e with e ~ N(0, sigma^2). They differ only in the scale
of the head. The scale is fixed (least squares), shared (one learned number, the maximum-likelihood sigma), or predicted
by the network (a different scale for each x). Then the same models are fitted to data with noise that grows with x.
Finally, the linear model with a shared scale is fitted to scikit-learn's diabetes data.

Expected: the first two models find the least-squares line, and the shared scale is the root mean squared residual (the
mean divides by n, not by n - 2). If the noise grows, only the third model learns this growth, and it has the lowest
negative log-likelihood. On the diabetes data, sigma is 53.476 and the mean negative log-likelihood is 5.39817 nats.
"""

import functools

import numpy as np
from matplotlib.figure import Figure
from sklearn import datasets

import nllfit
from experiments import common
from nllfit import plots

SLOPE, INTERCEPT, SIGMA = 2.0, -1.0, 0.5
NOISES = {"constant": lambda x: SIGMA, "growing": lambda x: SIGMA * np.exp(1.5 * x)}
STEPS = 10  # the number of steps in an epoch
FORMS = {"fixed": {"scale": 1.0}, "shared": {"shared": ("scale",)}, "network": {}}


def fitted(tools, form, x, y, epochs, title, folder):
    """Trains a linear layer with a Normal head in float64.

    Adam uses all rows in each step, and its learning rate decays to 0.
    """
    keras, normal = tools.keras, tools.heads.Normal
    units = normal.params_size(**form)
    dense = keras.layers.Dense(units, dtype="float64")
    model = keras.Sequential([keras.Input(x.shape[1:], dtype="float64"), dense, normal(**form, dtype="float64")])
    schedule = keras.optimizers.schedules.CosineDecay(0.05, epochs * STEPS)
    model.compile(keras.optimizers.Adam(schedule), tools.loss, jit_compile=False)
    batches = {"x": np.tile(x, [STEPS, 1]), "y": np.tile(y, [STEPS, 1]), "batch_size": len(x), "shuffle": False}
    bar = common.progress_bar(keras, title)
    fit = functools.partial(nllfit.fit, model, **batches, epochs=epochs, verbose=0, callbacks=[bar])
    model.history = common.trained(model, folder / "unfinished" / f"{title}.npz", fit)
    return model


def fit_line(tools, noise, num_rows, epochs, seed, folder):
    """Fits the three models to a noisy line. Returns `(x, y, models)`, and a dict of all estimates."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, [num_rows, 1])
    y = SLOPE * x + INTERCEPT + NOISES[noise](x) * rng.normal(size=[num_rows, 1])
    design = np.hstack([x, np.ones_like(x)])
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    residuals = y - design @ coefficients
    metrics = {"least_squares": {"slope": coefficients[0, 0], "intercept": coefficients[1, 0]}}
    metrics["least_squares"]["residual_sigma"] = np.sqrt(np.mean(residuals**2))
    models = {}
    for name, form in FORMS.items():
        model = models[name] = fitted(tools, form, x, y, epochs, f"{noise} noise, {name} scale", folder)
        distribution = tools.distribution(model(x))
        low, high = tools.distribution(model(np.array([[0.0], [1.0]]))).mean().numpy()[:, 0]
        metrics[name] = {
            "slope": high - low,
            "intercept": low,
            "sigma": float(np.mean(distribution.stddev())),
            "mean_nll": float(np.mean(nllfit.negative_log_likelihood(y, distribution))),
        }
    return (x, y, models), metrics


def evaluated(noise, models, seed, num_rows=1000):
    """Evaluates each model on new rows, which are points of the same line with new noise."""
    rng = np.random.default_rng(seed + 1)
    x = rng.uniform(-1, 1, [num_rows, 1])
    y = SLOPE * x + INTERCEPT + NOISES[noise](x) * rng.normal(size=[num_rows, 1])
    return {name: nllfit.evaluate(model, x, y, batch_size=num_rows) for name, model in models.items()}


def fit_diabetes(tools, epochs, folder):
    """Fits the linear model with a shared scale to standardised data.

    Returns the model and a dict: sigma in the target's original unit, and the mean NLL of the target in this unit.
    """
    x, y = datasets.load_diabetes(return_X_y=True)
    x, unit = x / x.std(0), y.std()
    y = (y[:, None] - y.mean()) / unit
    model = fitted(tools, FORMS["shared"], x, y, epochs, "diabetes, shared scale", folder)
    distribution = tools.distribution(model(x))
    nll = nllfit.negative_log_likelihood(y, distribution)
    return model, {
        "sigma": float(distribution.stddev()[0, 0]) * unit,
        "mean_nll": float(np.mean(nll)) + np.log(unit),
    }


def plot(tools, lines, path):
    """Draws the data, the line and the band in a grid of figures: a row for each noise, a column for each head."""
    figure = Figure(figsize=(12, 7), layout="constrained")
    axes = figure.subplots(len(lines), len(FORMS), sharex=True, sharey="row", squeeze=False)
    for row, (noise, (x, y, models)) in zip(axes, lines.items(), strict=True):
        for ax, (name, model) in zip(row, models.items(), strict=True):
            distribution = tools.distribution(model(x))
            plots.predictive_band(ax, x, y, distribution)
            nll = np.mean(nllfit.negative_log_likelihood(y, distribution))
            ax.label_outer()
            ax.set_title(f"{noise} noise, {name} scale: mean NLL {nll:.3f} nats", fontsize="medium")
    figure.savefig(path, dpi=120)


def plot_calibration(lines, evaluations, path):
    """Draws the training curves, and the PIT histograms of new outcomes.

    A PIT histogram is flat if the predicted distributions are correct.
    """
    figure = Figure(figsize=(12, 14), layout="constrained")
    axes = figure.subplots(2 * len(lines), len(FORMS))
    for i, (noise, (_, _, models)) in enumerate(lines.items()):
        for column, name in enumerate(FORMS):
            title = f"{noise} noise, {name} scale"
            plots.training_curves(axes[2 * i, column], models[name].history).set_title(title, fontsize="medium")
            plots.pit_histogram(axes[2 * i + 1, column], evaluations[noise][name].pit)
    figure.savefig(path, dpi=120)


def print_table(noise, metrics):
    """Prints a table of the fits and of least squares."""
    squares = metrics["least_squares"]
    print(f"\n{noise + ' noise':15} {'slope':>10} {'intercept':>10} {'sigma':>10} {'mean NLL':>10}")
    estimates = (squares["slope"], squares["intercept"], squares["residual_sigma"])
    print(f"{'least squares':15} {estimates[0]:10.6f} {estimates[1]:10.6f} {estimates[2]:10.6f}")
    for name in FORMS:
        row = metrics[name]
        print(f"{name:15} {row['slope']:10.6f} {row['intercept']:10.6f} {row['sigma']:10.6f} {row['mean_nll']:10.6f}")


def main(argv=None):
    """Runs the experiment and returns its metrics."""
    parser = common.parser(__doc__, "regression")
    parser.add_argument("--rows", type=int, default=200, help="points of the line (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=100, help="epochs of ten steps of Adam (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), rows=3, epochs=1)
    tools = common.toolkit(arguments.keras)
    tools.keras.utils.set_random_seed(arguments.seed)
    with common.run_folder(arguments) as folder:
        lines, metrics = {}, {}
        for noise in NOISES:
            lines[noise], metrics[noise] = fit_line(
                tools, noise, arguments.rows, arguments.epochs, arguments.seed, folder
            )
            for name, model in lines[noise][2].items():
                model.save(folder / f"{noise}-{name}.keras")
        model, metrics["diabetes"] = fit_diabetes(tools, 2 * arguments.epochs, folder)
        model.save(folder / "diabetes.keras")
        evaluations = {noise: evaluated(noise, models, arguments.seed) for noise, (_, _, models) in lines.items()}
        metrics["evaluation"] = {
            noise: {name: e.to_dict() for name, e in row.items()} for noise, row in evaluations.items()
        }
        plot(tools, lines, folder / "regression.png")
        plot_calibration(lines, evaluations, folder / "calibration.png")
        common.write_json(folder / "metrics.json", metrics)
        for noise in NOISES:
            print_table(noise, metrics[noise])
            print(f"\n{'1000 new rows':15} {'NLL':>10} {'CRPS':>10} {'90% inside':>10} {'calibration error':>18}")
            for name, e in evaluations[noise].items():
                print(f"{name:15} {e.nll:10.4f} {e.crps:10.4f} {e.coverage[0.9]:10.3f} {e.calibration_error:18.4f}")
        print("\ndiabetes: sigma {sigma:.3f}, mean NLL {mean_nll:.5f} nats".format(**metrics["diabetes"]))
    return metrics


if __name__ == "__main__":
    common.run(main)
