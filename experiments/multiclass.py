"""What is softmax with cross-entropy? The negative log-likelihood of a OneHotCategorical head.

    python -m experiments.multiclass                 # scikit-learn's digits
    python -m experiments.multiclass --data FOLDER   # the four IDX files of MNIST or Fashion-MNIST

Expected on the digits: a test accuracy of about 98% and a mean negative log-likelihood below 0.1 nats. Equal
probabilities for all classes give log 10 = 2.303 nats. Expected on Fashion-MNIST, after 4 epochs with batches of 128:
one network has a negative log-likelihood of 0.332 nats and an accuracy of 88%. An ensemble of five networks with
temperature scaling has 0.300 nats and 89%. The run folder contains the model, the confusion matrix and the worst
mistakes.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn import datasets
from sklearn.metrics import ConfusionMatrixDisplay

import nllfit
from experiments import classifier, common, labelled_data
from nllfit import plots


def load(arguments):
    """Returns the data set that the flags name. Its labels are one-hot rows."""
    if arguments.data is None:
        bunch = datasets.load_digits()
        images = (bunch.images[..., None] * (255 / 16)).astype("uint8")
        (x, y), (x_test, y_test), names = labelled_data.split(
            images, bunch.target, map(str, bunch.target_names), arguments.seed
        )
    else:
        (x, y), (x_test, y_test), names = labelled_data.idx_folder(arguments.data)
    one_hot = np.eye(len(names), dtype="float32")
    return (x, one_hot[y]), (x_test, one_hot[y_test]), names


def scores(model, x, y):
    """Returns the class probabilities of the test rows, and the scores of the model."""
    distribution = nllfit.predict_distribution(model, x, batch_size=256)
    probabilities = distribution.mean().numpy()
    return probabilities, {
        "nll": float(np.mean(nllfit.negative_log_likelihood(y, distribution))),
        "accuracy": float(np.mean(probabilities.argmax(-1) == y.argmax(-1))),
        "guessing_nll": float(np.log(y.shape[-1])),
        "num_test": len(y),
    }


def plot(histories, y, probabilities, names, path):
    """Draws the training curves and the confusion matrix."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    plots.training_curves(left, histories).set_title("OneHotCategorical head")
    classes = {"labels": range(len(names)), "display_labels": names}
    ConfusionMatrixDisplay.from_predictions(
        y.argmax(-1), probabilities.argmax(-1), **classes, cmap="Blues", colorbar=False, ax=right
    )
    right.set_title(f"{len(y)} test rows")
    figure.savefig(path, dpi=150)


def plot_calibration(evaluations, path):
    """Draws a reliability diagram for each model: the share of correct predictions against the probability."""
    figure = Figure(figsize=(4.5 * len(evaluations), 4.8), layout="constrained")
    for ax, (name, evaluation) in zip(np.ravel(figure.subplots(1, len(evaluations))), evaluations.items(), strict=True):
        plots.reliability_diagram(ax, evaluation.y.argmax(-1), evaluation.probabilities).set_title(name)
    figure.savefig(path, dpi=120)


def plot_mistakes(x, y, probabilities, names, path, count=16):
    """Draws the images whose true class has the lowest predicted probabilities."""
    likelihoods = (probabilities * y).sum(-1)
    worst = np.argsort(likelihoods)[:count]
    titles = [f"{names[y[i].argmax()]}: {likelihoods[i]:.3f} ({names[probabilities[i].argmax()]}?)" for i in worst]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    figure.suptitle("the least likely test images: class, its probability (the model's guess)")
    classifier.example_grid(figure, x[worst], titles)
    figure.savefig(path, dpi=150)


def main(argv=None):
    """Runs the experiment and returns its metrics."""
    parser = common.parser(__doc__, "multiclass")
    parser.add_argument("--data", help="a folder of IDX files (default: scikit-learn's digits)")
    parser.add_argument("--epochs", type=int, help="the most epochs (default: 60 on the digits, 10 on IDX files)")
    parser.add_argument("--batch-size", type=int, default=64, help="rows per step (default: %(default)s)")
    parser.add_argument("--members", type=int, default=5, help="networks of the ensemble (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.epochs is None:
        arguments.epochs = 10 if arguments.data else 60
    common.checked(arguments, epochs=1, batch_size=1, members=1)
    tools = common.toolkit(arguments.keras)
    (x, y), (x_test, y_test), names = load(arguments)
    with common.run_folder(arguments) as folder:
        head, title = tools.heads.OneHotCategorical, f"{len(x)} images of {len(names)} classes"
        units = head.params_size(len(names))
        models, histories = classifier.trained_members(
            tools, x, y, lambda: head(len(names)), units, arguments, title, folder
        )
        evaluations = classifier.compared(models, x, y, x_test, y_test)
        probabilities, metrics = scores(models[0], x_test, y_test)
        metrics["evaluation"] = {name: evaluation.to_dict() for name, evaluation in evaluations.items()}
        plot(histories, y_test, probabilities, names, folder / "multiclass.png")
        plot_calibration(evaluations, folder / "calibration.png")
        plot_mistakes(x_test, y_test, probabilities, names, folder / "mistakes.png")
        classifier.save(models, folder)
        common.write_json(folder / "metrics.json", metrics)
        classifier.print_scores(evaluations)
        print(f"{'equal probabilities':28}{metrics['guessing_nll']:>8.4f}{'':10}{1 / len(names):>10.4f}")
    return metrics


if __name__ == "__main__":
    common.run(main)
