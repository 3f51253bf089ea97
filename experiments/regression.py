"""What does a regression with squared error assume, and what does it leave out?

    python -m experiments.regression

A line with Normal noise, y = f(x) + e with e ~ N(0, sigma^2), is fitted by three models that differ in the head alone:
the scale fixed (least squares), the scale shared (one learned number: the maximum-likelihood sigma), the scale from the
network (another for each x). Then the linear model with a shared scale on scikit-learn's diabetes data.

Expected: the first two find the least-squares line; the shared scale is the root of the mean squared residual (divided
by n, not n - 2); on the diabetes data sigma is 53.476 and the mean negative log-likelihood 5.39817 nats.
"""

import numpy as np
import tf_keras
from matplotlib.figure import Figure
from sklearn import datasets

import nllfit
from experiments import common
from nllfit import heads, plots

SLOPE, INTERCEPT, SIGMA = 2.0, -1.0, 0.5
FORMS = {"fixed": {"scale": 1.0}, "shared": {"shared": ("scale",)}, "network": {}}


def linear_model(num_inputs, **form):
    """A linear layer in float64 under a Normal head."""
    return tf_keras.Sequential(
        [
            tf_keras.layers.Dense(heads.Normal.params_size(**form), input_shape=(num_inputs,), dtype="float64"),
            heads.Normal(**form, dtype="float64"),
        ]
    )


def train(model, x, y, epochs, title):
    """Full-batch Adam, its steps shrinking to nothing, so that it ends at the optimum."""
    schedule = tf_keras.optimizers.schedules.CosineDecay(0.05, epochs)
    model.compile(tf_keras.optimizers.Adam(schedule), nllfit.negative_log_likelihood)
    model.fit(x, y, batch_size=len(x), epochs=epochs, verbose=0, callbacks=[common.ProgressBar(title)])


def fit_line(num_rows, epochs, seed):
    """The three heads on a noisy line: the data, the models, and their numbers beside those of least squares."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-1, 1, [num_rows, 1])
    y = SLOPE * x + INTERCEPT + SIGMA * rng.normal(size=[num_rows, 1])
    design = np.hstack([x, np.ones_like(x)])
    coefficients, *_ = np.linalg.lstsq(design, y, rcond=None)
    residuals = y - design @ coefficients
    metrics = {"least_squares": {"slope": coefficients[0, 0], "intercept": coefficients[1, 0]}}
    metrics["least_squares"]["residual_sigma"] = np.sqrt(np.mean(residuals**2))
    models = {}
    for name, form in FORMS.items():
        model = models[name] = linear_model(1, **form)
        train(model, x, y, epochs, f"{name} scale")
        distribution = model(x)
        low, high = model(np.array([[0.0], [1.0]])).mean().numpy()[:, 0]
        metrics[name] = {
            "slope": high - low,
            "intercept": low,
            "sigma": float(np.mean(distribution.stddev())),
            "mean_nll": float(np.mean(nllfit.negative_log_likelihood(y, distribution))),
        }
    return x, y, models, metrics


def fit_diabetes(epochs):
    """The linear model with one scale, trained on standardised data; its sigma and NLL in the target's own units."""
    x, y = datasets.load_diabetes(return_X_y=True)
    x, unit = x / x.std(0), y.std()
    model = linear_model(x.shape[1], **FORMS["shared"])
    train(model, x, (y - y.mean()) / unit, epochs, "diabetes, shared scale")
    nll = nllfit.negative_log_likelihood((y[:, None] - y.mean()) / unit, model(x))
    return model, {
        "sigma": float(model(x).stddev()[0, 0]) * unit,
        "mean_nll": float(np.mean(nll)) + np.log(unit),
    }


def plot(x, y, models, path):
    """Data, line and band of the three heads, side by side."""
    figure = Figure(figsize=(12, 4), layout="constrained")
    axes = figure.subplots(1, len(models), sharey=True)
    for ax, (name, model) in zip(axes, models.items(), strict=True):
        plots.prediction_band(ax, x, y, model(x))
        nll = np.mean(nllfit.negative_log_likelihood(y, model(x)))
        ax.label_outer()
        ax.set_title(f"{name} scale: mean NLL {nll:.4f} nats")
    figure.savefig(path, dpi=150)


def print_table(metrics):
    """The fits beside least squares, then the diabetes data."""
    squares = metrics["least_squares"]
    print(f"\n{'head':15} {'slope':>10} {'intercept':>10} {'sigma':>10} {'mean NLL':>10}")
    line = (squares["slope"], squares["intercept"], squares["residual_sigma"])
    print(f"{'least squares':15} {line[0]:10.6f} {line[1]:10.6f} {line[2]:10.6f}")
    for name in FORMS:
        row = metrics[name]
        print(f"{name:15} {row['slope']:10.6f} {row['intercept']:10.6f} {row['sigma']:10.6f} {row['mean_nll']:10.6f}")
    print(f"\ndiabetes: sigma {metrics['diabetes']['sigma']:.3f}, mean NLL {metrics['diabetes']['mean_nll']:.5f} nats")


def main(argv=None):
    """Runs the experiment; returns its metrics."""
    parser = common.parser(__doc__, "regression")
    parser.add_argument("--rows", type=int, default=200, help="points of the line (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=1000, help="steps of full-batch Adam (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), rows=3, epochs=1)
    tf_keras.utils.set_random_seed(arguments.seed)
    with common.run_folder(arguments) as folder:
        x, y, models, metrics = fit_line(arguments.rows, arguments.epochs, arguments.seed)
        model, metrics["diabetes"] = fit_diabetes(2 * arguments.epochs)
        plot(x, y, models, folder / "regression.png")
        for name, trained in {**models, "diabetes": model}.items():
            trained.save(folder / f"{name}.keras")
        common.write_json(folder / "metrics.json", metrics)
        print_table(metrics)
    return metrics


if __name__ == "__main__":
    common.run(main)
