"""Why does the test likelihood of a network collapse while its training likelihood still rises, and what helps?

    python -m experiments.overconfidence

A network with a Normal head predicts a mean and a scale for each row. If the network overfits, the residuals of
the training rows and the predicted scales go to 0. The scales are then far too small for test rows. The negative
log-likelihood (NLL) of a test row contains the term `(error / scale)^2 / 2`. So the mean NLL explodes, although the
errors hardly grow.

Networks are trained on random splits of scikit-learn's diabetes data with four losses: the NLL, the NLL with a lower
bound of the scale (a floor), beta-NLL (Seitzer et al. 2022) and the CRPS. Then five networks trained with the NLL form
an ensemble. The scales of the ensemble are also multiplied by a factor that is chosen on held-out training rows.
Finally, `nllfit.tabular.DistributionRegressor` chooses both the factor and the regularization.

Expected: training with the NLL gives a test NLL of about 8. A Normal that ignores the inputs has a test NLL of 1.4.
Beta-NLL and the CRPS do not help: with them, networks learn the mean faster, so they overfit more, and their test NLL
ends above 40. The floor and the ensemble each lower the test NLL to 2.8, and the factor lowers the ensemble's
test NLL to 1.7. A network needs regularization to be better than the Normal that ignores the inputs: the test NLL of
the `DistributionRegressor` is 1.0.
"""

import functools

import numpy as np
import tensorflow_probability as tfp
from matplotlib.figure import Figure
from sklearn import datasets, model_selection

import nllfit
from experiments import common
from nllfit.tabular import DistributionRegressor

MEMBERS = 5
FACTORS = np.geomspace(0.7, 4, 36)
FLOOR = 0.3  # the minimum scale, in standard deviations of the target


def build(tools, head, loss, num_inputs):
    """Returns a compiled network with two hidden layers and a head."""
    layers = tools.keras.layers
    hidden = [layers.Dense(50, "swish") for _ in range(2)]
    model = tools.keras.Sequential([layers.Input([num_inputs]), *hidden, layers.Dense(2), head])
    model.compile("adam", loss, weighted_metrics=[tools.metrics.NegativeLogLikelihood(name="nll")])
    return model


def methods(tools):
    """Returns the head and the loss of each method that trains one network."""
    normal = tools.heads.Normal
    return {
        "NLL": (normal, tools.loss),
        f"NLL, scale >= {FLOOR}": (lambda: normal(floor={"scale": FLOOR}), tools.loss),
        "beta-NLL": (normal, tools.losses.BetaNLL()),
        "CRPS": (normal, tools.losses.CRPS()),
    }


def scores(distribution, y):
    """Returns the NLL, the RMSE and the mean predicted standard deviation."""
    evaluation = nllfit.evaluate(distribution, y=y)
    return {"nll": evaluation.nll, "rmse": evaluation.rmse, "mean_stddev": float(np.mean(distribution.stddev()))}


def fit_split(tools, x, y, train, test, epochs, seed):
    """Returns the scores of each method on the test rows, and the test NLL after each epoch.

    Only methods that train one network have the NLL after each epoch.
    """
    loc, unit = y[train].mean(), y[train].std()
    x = (x - x[train].mean(0)) / x[train].std(0)
    y = (y - loc) / unit
    held_out = x[test], y[test]
    results = {"marginal": scores(_marginal(len(test)), y[test])}
    curves = {}
    for name, (head, loss) in methods(tools).items():
        tools.keras.utils.set_random_seed(seed)
        model = build(tools, head(), loss, x.shape[1])
        history = nllfit.fit(
            model, x[train], y[train], epochs=epochs, validation_data=held_out, seed=seed, verbose=0
        ).history
        results[name], curves[name] = scores(nllfit.predict_distribution(model, x[test]), y[test]), history["val_nll"]

    def ensemble(rows):
        make = lambda: build(tools, tools.heads.Normal(), tools.loss, x.shape[1])  # noqa: E731
        members = nllfit.Ensemble.fit(make, MEMBERS, x[rows], y[rows], epochs=epochs, seed=seed)
        return lambda rows: tools.distribution(members(x[rows]))

    cut = len(train) * 4 // 5
    held_out_mixture = ensemble(train[:cut])(train[cut:])
    mixtures = [widened(held_out_mixture, factor) for factor in FACTORS]
    losses = [np.mean(nllfit.negative_log_likelihood(y[train[cut:]], mixture)) for mixture in mixtures]
    factor = FACTORS[int(np.argmin(losses))]
    test_mixture = ensemble(train)(test)
    results[f"{MEMBERS} by NLL"] = scores(test_mixture, y[test])
    results[f"{MEMBERS} by NLL, scales x factor"] = scores(widened(test_mixture, factor), y[test]) | {"factor": factor}
    tabular = DistributionRegressor(shuffle=False, random_state=seed).fit(x[train], y[train])
    results["DistributionRegressor"] = scores(tabular.predict_distribution(x[test]), y[test])
    return results, curves


def widened(mixture, factor):
    """Multiplies all scales of a mixture of Normals by `factor`."""
    normal = mixture.components_distribution.distribution
    components = tfp.distributions.Independent(tfp.distributions.Normal(normal.loc, factor * normal.scale), 1)
    return tfp.distributions.MixtureSameFamily(mixture.mixture_distribution, components)


def _marginal(num_rows):
    zeros = np.zeros([num_rows, 1])
    return tfp.distributions.Independent(tfp.distributions.Normal(zeros, zeros + 1), 1)


def plot(curves, metrics, path):
    """Draws the mean test NLL of single networks after each epoch. All other methods are drawn as horizontal lines."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    ax = figure.subplots()
    for name, values in curves.items():
        ax.plot(np.arange(1, values.shape[1] + 1), values.mean(0), label=f"one network by {name}")
    other_methods = [name for name in metrics if name not in curves]
    for name, style in zip(other_methods, (":", "-.", "--", "-"), strict=True):
        ax.axhline(metrics[name]["nll"], color="0.4", linestyle=style, label=name)
    ax.set(xlabel="epoch", ylabel="mean NLL of test rows (nats)", yscale="log")
    ax.legend(fontsize="small")
    figure.savefig(path, dpi=120)


def main(argv=None):
    """Runs the experiment and returns its metrics for the standardised target."""
    parser = common.parser(__doc__, "overconfidence")
    parser.add_argument("--epochs", type=int, default=300, help="epochs of each network (default: %(default)s)")
    parser.add_argument("--splits", type=int, default=5, help="random splits into 90%% and 10%% (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), epochs=1, splits=1)
    tools = common.toolkit(arguments.keras)
    x, y = datasets.load_diabetes(return_X_y=True)
    row_splits = model_selection.ShuffleSplit(arguments.splits, test_size=0.1, random_state=arguments.seed)
    with common.run_folder(arguments) as folder:
        splits = []
        bar = tools.keras.utils.Progbar(arguments.splits, unit_name="split")
        for i, (train, test) in enumerate(row_splits.split(x)):
            settings = train, test, arguments.epochs, arguments.seed + i
            split = functools.partial(fit_split, tools, x, y[:, None], *settings)
            splits.append(common.kept(folder / "unfinished" / f"split-{i}.json", split))
            bar.update(i + 1)
        metrics = {
            name: {score: float(np.mean([split[name][score] for split, _ in splits])) for score in row}
            for name, row in splits[0][0].items()
        }
        curves = {name: np.array([split[name] for _, split in splits]) for name in splits[0][1]}
        for name, values in curves.items():
            metrics[name]["lowest_nll_of_an_epoch"] = float(values.mean(0).min())
        print(f"\n{'test rows':28} {'NLL':>9} {'RMSE':>9} {'mean stddev':>12}")
        for name, row in metrics.items():
            print(f"{name:28} {row['nll']:9.4f} {row['rmse']:9.4f} {row['mean_stddev']:12.4f}")
        plot(curves, metrics, folder / "test_nll.png")
        common.write_json(folder / "metrics.json", metrics)
    return metrics


if __name__ == "__main__":
    common.run(main)
