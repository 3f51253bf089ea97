"""How long do patients live after a heart transplant, if some are alive at the end of the study? Does age matter?

    python -m experiments.survival

The data are the Stanford heart transplants from statsmodels (Miller 1976). For each of 69 patients, they contain the
days until death or the last contact, whether death was observed, and the age. 24 patients were alive at the last
contact, so their times are right-censored. `nllfit.Censored` computes the likelihood of such times. Several families
are fitted and ranked. A linear layer then computes all parameters of the best family from the age. Two comparisons show
whether age matters: a likelihood-ratio test on all rows, and the likelihood of held-out rows with and without age.

Expected: LogNormal and LogLogistic are best, and their AICs are similar. Families without a long tail are worst. A fit
to only the observed deaths gives a median that is far too short. Older patients die sooner.
"""

import functools

import numpy as np
from matplotlib.figure import Figure
from scipy import stats
from sklearn import model_selection
from statsmodels import api
from statsmodels.duration.survfunc import SurvfuncRight

import nllfit
from experiments import common

FAMILIES = ("Exponential", "Weibull", "Gamma", "LogNormal", "LogLogistic")
CURVES = 3


def load():
    """Returns the ages `[n, 1]`, the days until death or the last contact `[n]`, and whether the patient died `[n]`."""
    data = api.datasets.heart.load_pandas().data
    return data[["age"]].to_numpy(), data["survival"].to_numpy(), data["censors"].to_numpy() == 1


def regression(tools, family, num_inputs):
    """Returns a compiled model of a linear layer and a head."""
    head = tools.heads.Censored(family, dtype="float64")
    dense = tools.keras.layers.Dense(head.params_size(), dtype="float64")
    model = tools.keras.Sequential([tools.keras.Input([num_inputs], dtype="float64"), dense, head])
    model.compile(loss=tools.loss)
    return model


def held_out_losses(model, name, x, y, train, test):
    """Returns the summed negative log-likelihoods of the test rows, without and with age."""
    marginal = nllfit.maximum_likelihood(nllfit.Censored(name), y[train])
    # The fit gets all rows, but held-out rows have the weight 0 and do not count.
    nllfit.fit_lbfgs(model, x, y, sample_weight=np.isin(np.arange(len(y)), train).astype(float))
    losses = nllfit.negative_log_likelihood(y[test], nllfit.predict_distribution(model, x[test]))
    return {
        "without age": -float(np.sum(marginal.distribution.log_prob(y[test]))),
        "with age": float(np.sum(losses)),
    }


def plot(time, observed, estimates, naive, by_age, path):
    """Draws the Kaplan-Meier estimate twice: with the fitted survival curves, and with the curves for two ages."""
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    days = np.linspace(1, time.max(), 400)
    for ax in (left, right):
        curve = SurvfuncRight(time, observed)
        ax.step(np.r_[0, curve.surv_times], np.r_[1, curve.surv_prob], "k", where="post", label="Kaplan-Meier")
        ax.set(xlabel="days after the transplant", ylim=(0, 1))
    for estimate in estimates:
        left.plot(days, nllfit.survival(estimate.distribution, days), label=estimate.family.family.name)
    left.plot(days, nllfit.survival(naive.distribution, days), "0.6", linestyle=":", label="only deaths")
    left.set(ylabel="survival probability", title="families, the best three and a biased one")
    for age, distribution in by_age.items():
        right.plot(days, nllfit.survival(distribution, days[:, None])[:, 0], label=f"at {age} years")
    right.set(title="the best family under a head, by age")
    for ax in (left, right):
        ax.legend()
    figure.savefig(path, dpi=120)


def main(argv=None):
    """Runs the experiment and returns its metrics. Medians are in days."""
    parser = common.parser(__doc__, "survival")
    parser.add_argument("--folds", type=int, default=10, help="folds of the cross-validation (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), folds=2)
    tools = common.toolkit(arguments.keras)
    age, time, observed = load()
    x, y = (age - age.mean()) / age.std(), nllfit.right_censored(time, observed)
    with common.run_folder(arguments) as folder:
        families = [nllfit.Censored(name) for name in FAMILIES]
        ranked = nllfit.compare(y, families)
        print(ranked.summary())
        best = ranked.estimates[0]
        name = best.family.family.name
        naive = nllfit.maximum_likelihood(name, time[observed])
        tools.keras.utils.set_random_seed(arguments.seed)
        model = regression(tools, name, x.shape[1])
        nllfit.fit_lbfgs(model, x, y, sample_weight=np.ones(len(y)))
        gain = -len(y) * nllfit.evaluate(model, x, y).nll - best.log_likelihood
        num_added = model.count_params() - best.num_parameters
        ages = {years: tools.distribution(model((np.array([[years]]) - age.mean()) / age.std())) for years in (35, 55)}
        fold_losses = []
        folds = model_selection.KFold(arguments.folds, shuffle=True, random_state=arguments.seed)
        bar = tools.keras.utils.Progbar(arguments.folds, unit_name="fold")
        for i, (train, test) in enumerate(folds.split(x)):
            fold = functools.partial(held_out_losses, model, name, x, y, train, test)  # a call of `fold` fits the model
            fold_losses.append(common.kept(folder / "unfinished" / f"fold-{i}.json", fold))
            bar.update(i + 1)
        held_out = {key: sum(fold[key] for fold in fold_losses) / len(y) for key in fold_losses[0]}
        metrics = {
            "best": name,
            "aic": {estimate.family.family.name: estimate.aic for estimate in ranked.estimates},
            "median": float(nllfit.quantile(best.distribution, 0.5)),
            "median_of_deaths_alone": float(nllfit.quantile(naive.distribution, 0.5)),
            "kaplan_meier_median": float(SurvfuncRight(time, observed).quantile(0.5)),
            "median_by_age": {years: float(nllfit.quantile(d, 0.5)[0]) for years, d in ages.items()},
            "log_likelihood_gained_by_age": gain,
            "p_value_of_age": float(stats.chi2(num_added).sf(2 * gain)),
            "held_out_nll": held_out,
        }
        print(f"\nmedian survival in days: {metrics['median']:.0f} by the best family,", end=" ")
        print(f"{metrics['kaplan_meier_median']:.0f} by the Kaplan-Meier estimate,", end=" ")
        print(f"{metrics['median_of_deaths_alone']:.0f} by a fit to only the deaths")
        print(f"median by age: {metrics['median_by_age']}")
        print(f"age adds {gain:.2f} nats with {num_added} parameters, p = {metrics['p_value_of_age']:.3f}")
        print(f"mean NLL of held-out rows: {held_out}")
        plot(time, observed, ranked.estimates[:CURVES], naive, ages, folder / "survival.png")
        common.write_json(folder / "metrics.json", metrics)
    return metrics


if __name__ == "__main__":
    common.run(main)
