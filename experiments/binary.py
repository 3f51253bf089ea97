"""What is a classifier's cross-entropy? The negative log-likelihood of a Bernoulli head.

    python -m experiments.binary                     # scikit-learn's breast cancer data
    python -m experiments.binary --data FOLDER       # photographs; one subfolder for each class
    python -m experiments.binary --data FILE.npz     # arrays x_train, y_train, x_test, y_test

Expected on the breast cancer data: a test accuracy of about 97% and a mean negative log-likelihood near 0.1 nats.
Predicting the class frequencies for every row gives 0.66 nats. Temperature scaling may lower the test likelihood,
because the 91 validation rows contain too few mistakes to estimate the temperature.

Expected on 10,000 photographs of cats and dogs, 32 x 32 pixels: one network has a negative log-likelihood of 0.46 nats
(0.43 after temperature scaling) and an accuracy of 80%. An ensemble of five networks has 0.41 nats and 82%.

The run folder contains the model, a reliability diagram and, for images, the worst mistakes.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn import datasets
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import nllfit
from experiments import classifier, common, labelled_data
from nllfit import plots


def load(arguments):
    """Returns the data set that the flags name."""
    if arguments.data is None:
        bunch = datasets.load_breast_cancer()
        (x, y), (x_test, y_test), names = labelled_data.split(
            bunch.data, bunch.target, bunch.target_names, arguments.seed
        )
    elif str(arguments.data).endswith(".npz"):
        (x, y), (x_test, y_test), names = labelled_data.npz_file(arguments.data)
    else:
        (x, y), (x_test, y_test), names = labelled_data.photographs(arguments.data, arguments.size, arguments.seed)
    if len(names) != 2:
        raise ValueError(f"--data {arguments.data} has {len(names)} classes, {', '.join(names)}: give data with two.")
    if len(np.unique(y_test)) == 1:
        raise ValueError(f"The test rows of --data {arguments.data} are all of one class: give rows of both classes.")
    if x.ndim == 2:
        scaler = StandardScaler().fit(x)
        x, x_test = scaler.transform(x), scaler.transform(x_test)
    return (x, y[:, None]), (x_test, y_test[:, None]), names


def scores(model, x, y, share):
    """Returns the predicted probabilities of the test rows, and the scores of the model.

    `share` is the fraction of training rows of the second class. The item `class_share` contains the scores of a model
    that predicts the probability `share` for every row.
    """
    distribution = nllfit.predict_distribution(model, x, batch_size=256)
    probability = distribution.mean().numpy()
    share_nll = -np.log(np.where(y == 1, share, 1 - share)).mean()
    return probability[:, 0], {
        "nll": float(np.mean(nllfit.negative_log_likelihood(y, distribution))),
        "accuracy": float(np.mean((probability > 0.5) == y)),
        "auc": float(roc_auc_score(y, probability)),
        "brier": float(np.mean((probability - y) ** 2)),
        "class_share": {"nll": float(share_nll), "accuracy": float(np.mean((share > 0.5) == y))},
        "num_test": len(y),
    }


def plot(histories, evaluations, names, path):
    """Draws the training curves, and a reliability diagram of each model."""
    figure = Figure(figsize=(4.5 * (1 + len(evaluations)), 4.8), layout="constrained")
    left, *right = figure.subplots(1, 1 + len(evaluations))
    plots.training_curves(left, histories).set_title("Bernoulli head")
    for ax, (name, evaluation) in zip(right, evaluations.items(), strict=True):
        plots.reliability_diagram(ax, evaluation.y[:, 0], evaluation.probabilities[:, 0, 1]).set_title(
            f"{names[1]}: {name}"
        )
    figure.savefig(path, dpi=120)


def plot_mistakes(x, y, probability, names, path, count=16):
    """Draws the images whose true class has the lowest predicted probabilities."""
    likelihoods = np.where(y[:, 0] == 1, probability, 1 - probability)
    worst = np.argsort(likelihoods)[:count]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    figure.suptitle("the least likely test images, with the probability of their class")
    classifier.example_grid(figure, x[worst], [f"{names[y[i, 0]]}: {likelihoods[i]:.3f}" for i in worst])
    figure.savefig(path, dpi=150)


def main(argv=None):
    """Runs the experiment and returns its metrics."""
    parser = common.parser(__doc__, "binary")
    parser.add_argument("--data", help="a folder of photographs or an .npz file (default: breast cancer)")
    parser.add_argument("--size", type=int, default=64, help="side of the photographs in pixels (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=60, help="the most epochs (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="rows per step (default: %(default)s)")
    parser.add_argument("--members", type=int, default=5, help="networks of the ensemble (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), size=8, epochs=1, batch_size=1, members=1)
    tools = common.toolkit(arguments.keras)
    (x, y), (x_test, y_test), names = load(arguments)
    with common.run_folder(arguments) as folder:
        head, title = tools.heads.Bernoulli, f"{len(x)} rows, {' and '.join(names)}"
        models, histories = classifier.trained_members(tools, x, y, head, head.params_size(), arguments, title, folder)
        evaluations = classifier.compared(models, x, y, x_test, y_test)
        probability, metrics = scores(models[0], x_test, y_test, y.mean())
        metrics["evaluation"] = {name: evaluation.to_dict() for name, evaluation in evaluations.items()}
        plot(histories, evaluations, names, folder / "binary.png")
        if x.ndim == 4:
            plot_mistakes(x_test, y_test, probability, names, folder / "mistakes.png")
        classifier.save(models, folder)
        common.write_json(folder / "metrics.json", metrics)
        classifier.print_scores(evaluations)
        baseline = metrics["class_share"]
        print(f"{'class frequencies':28}{baseline['nll']:>8.4f}{'':10}{baseline['accuracy']:>10.4f}")
        print(f"\nAUC of one network: {metrics['auc']:.4f}")
    return metrics


if __name__ == "__main__":
    common.run(main)
