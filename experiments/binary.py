"""What is a classifier's cross-entropy? The negative log-likelihood of a Bernoulli head.

    python -m experiments.binary                     # scikit-learn's breast cancer data
    python -m experiments.binary --data FOLDER       # photographs, one subfolder a class, such as cats and dogs
    python -m experiments.binary --data FILE.npz     # arrays x_train, y_train, x_test, y_test

Expected: on the breast cancer data a test accuracy of about 97 % and a mean negative log-likelihood near 0.1 nats,
where the share of the classes alone gives 0.66. The run folder holds the model, how calibrated its probabilities are,
and for images those it was most wrong about.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn import datasets
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

import nllfit
from experiments import classifier, common, data
from nllfit import plots


def load(arguments):
    """The data set that the flags name."""
    if arguments.data is None:
        bunch = datasets.load_breast_cancer()
        (x, y), (x_test, y_test), names = data.split(bunch.data, bunch.target, bunch.target_names, arguments.seed)
    elif str(arguments.data).endswith(".npz"):
        (x, y), (x_test, y_test), names = data.npz_file(arguments.data)
    else:
        (x, y), (x_test, y_test), names = data.photographs(arguments.data, arguments.size, arguments.seed)
    if len(names) != 2:
        raise ValueError(f"--data {arguments.data} has {len(names)} classes, {', '.join(names)}: a Bernoulli has two.")
    if len(np.unique(y_test)) == 1:
        raise ValueError(
            f"The test rows of --data {arguments.data} are all of one class: there is nothing to tell apart."
        )
    if x.ndim == 2:
        scaler = StandardScaler().fit(x)
        x, x_test = scaler.transform(x), scaler.transform(x_test)
    return (x, y[:, None]), (x_test, y_test[:, None]), names


def scores(model, x, y, share):
    """The model's scores on test rows beside those of the training rows' class share alone."""
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


def plot(history, y, probability, names, path):
    """Training and calibration."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    plots.training_curves(left, history).set_title("Bernoulli head")
    plots.reliability_diagram(right, y[:, 0], probability).set_title(
        f"the probability of class {names[1]} on {len(y)} test rows"
    )
    figure.savefig(path, dpi=150)


def plot_mistakes(x, y, probability, names, path, count=16):
    """The images to whose class the model gave the least probability."""
    given = np.where(y[:, 0] == 1, probability, 1 - probability)
    worst = np.argsort(given)[:count]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    figure.suptitle("the least likely test images, with the probability of their class")
    classifier.example_grid(figure, x[worst], [f"{names[y[i, 0]]}: {given[i]:.3f}" for i in worst])
    figure.savefig(path, dpi=150)


def main(argv=None):
    """Runs the experiment; returns its metrics."""
    parser = common.parser(__doc__, "binary")
    parser.add_argument("--data", help="a folder of photographs or an .npz file (default: breast cancer)")
    parser.add_argument("--size", type=int, default=64, help="side of the photographs in pixels (default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=60, help="at most (default: %(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="rows a step (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), size=8, epochs=1, batch_size=1)
    tools = common.toolkit(arguments.keras)
    tools.keras.utils.set_random_seed(arguments.seed)
    (x, y), (x_test, y_test), names = load(arguments)
    with common.run_folder(arguments) as folder:
        model = classifier.network(tools, x, tools.heads.Bernoulli(), tools.heads.Bernoulli.params_size())
        title = f"{len(x)} rows, {' and '.join(names)}"
        history = classifier.train(tools, model, x, y, arguments.epochs, arguments.batch_size, arguments.seed, title)
        probability, metrics = scores(model, x_test, y_test, y.mean())
        plot(history, y_test, probability, names, folder / "binary.png")
        if x.ndim == 4:
            plot_mistakes(x_test, y_test, probability, names, folder / "mistakes.png")
        model.save(folder / "model.keras")
        common.write_json(folder / "metrics.json", metrics)
        print(f"\n{'on ' + str(len(y_test)) + ' test rows':20} {'NLL (nats)':>10} {'accuracy':>10} {'AUC':>8}")
        print(f"{'Bernoulli head':20} {metrics['nll']:10.4f} {metrics['accuracy']:10.4f} {metrics['auc']:8.4f}")
        share = metrics["class_share"]
        print(f"{'class share':20} {share['nll']:10.4f} {share['accuracy']:10.4f} {0.5:8.4f}")
    return metrics


if __name__ == "__main__":
    common.run(main)
