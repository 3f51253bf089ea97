"""What is softmax with cross-entropy? The negative log-likelihood of a OneHotCategorical head.

    python -m experiments.multiclass                 # scikit-learn's digits
    python -m experiments.multiclass --data FOLDER   # the four IDX files of MNIST or Fashion-MNIST, gzipped or not

Expected: on the digits a test accuracy of about 98 % and a mean negative log-likelihood below 0.1 nats, where guessing
gives log 10 = 2.303. The run folder holds the model, the confusion matrix and the images it was most wrong about.
"""

import numpy as np
from matplotlib.figure import Figure
from sklearn import datasets
from sklearn.metrics import ConfusionMatrixDisplay

import nllfit
from experiments import classifier, common, data
from nllfit import plots


def load(arguments):
    """The data set that the flags name, its labels as one-hot rows."""
    if arguments.data is None:
        bunch = datasets.load_digits()
        images = (bunch.images[..., None] * (255 / 16)).astype("uint8")
        (x, y), (x_test, y_test), names = data.split(images, bunch.target, map(str, bunch.target_names), arguments.seed)
    else:
        (x, y), (x_test, y_test), names = data.idx_folder(arguments.data)
    one_hot = np.eye(len(names), dtype="float32")
    return (x, one_hot[y]), (x_test, one_hot[y_test]), names


def scores(model, x, y):
    """The class probabilities of test rows and the scores of the model."""
    distribution = nllfit.predict_distribution(model, x, batch_size=256)
    probabilities = distribution.mean().numpy()
    return probabilities, {
        "nll": float(np.mean(nllfit.negative_log_likelihood(y, distribution))),
        "accuracy": float(np.mean(probabilities.argmax(-1) == y.argmax(-1))),
        "guessing_nll": float(np.log(y.shape[-1])),
        "num_test": len(y),
    }


def plot(history, y, probabilities, names, path):
    """Training and the confusion matrix."""
    figure = Figure(figsize=(12, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    plots.training_curves(left, history).set_title("OneHotCategorical head")
    ConfusionMatrixDisplay.from_predictions(
        y.argmax(-1), probabilities.argmax(-1), display_labels=names, cmap="Blues", colorbar=False, ax=right
    )
    right.set_title(f"{len(y)} test rows")
    figure.savefig(path, dpi=150)


def plot_mistakes(x, y, probabilities, names, path, count=16):
    """The images to whose class the model gave the least probability."""
    given = (probabilities * y).sum(-1)
    worst = np.argsort(given)[:count]
    titles = [f"{names[y[i].argmax()]}: {given[i]:.3f} ({names[probabilities[i].argmax()]}?)" for i in worst]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    figure.suptitle("the least likely test images: class, its probability (the model's guess)")
    classifier.example_grid(figure, x[worst], titles)
    figure.savefig(path, dpi=150)


def main(argv=None):
    """Runs the experiment; returns its metrics."""
    parser = common.parser(__doc__, "multiclass")
    parser.add_argument("--data", help="a folder of IDX files (default: scikit-learn's digits)")
    parser.add_argument("--epochs", type=int, help="at most (default: 60 on the digits, 10 on IDX files)")
    parser.add_argument("--batch-size", type=int, default=64, help="rows a step (default: %(default)s)")
    arguments = parser.parse_args(argv)
    if arguments.epochs is None:
        arguments.epochs = 10 if arguments.data else 60
    common.checked(arguments, epochs=1, batch_size=1)
    tools = common.toolkit(arguments.keras)
    tools.keras.utils.set_random_seed(arguments.seed)
    (x, y), (x_test, y_test), names = load(arguments)
    with common.run_folder(arguments) as folder:
        head = tools.heads.OneHotCategorical
        model = classifier.network(tools, x, head(len(names)), head.params_size(len(names)))
        title = f"{len(x)} images of {len(names)} classes"
        history = classifier.train(tools, model, x, y, arguments.epochs, arguments.batch_size, arguments.seed, title)
        probabilities, metrics = scores(model, x_test, y_test)
        plot(history, y_test, probabilities, names, folder / "multiclass.png")
        plot_mistakes(x_test, y_test, probabilities, names, folder / "mistakes.png")
        model.save(folder / "model.keras")
        common.write_json(folder / "metrics.json", metrics)
        print(f"\n{'on ' + str(len(y_test)) + ' test rows':20} {'NLL (nats)':>10} {'accuracy':>10}")
        print(f"{'OneHotCategorical':20} {metrics['nll']:10.4f} {metrics['accuracy']:10.4f}")
        print(f"{'guessing':20} {metrics['guessing_nll']:10.4f} {1 / len(names):10.4f}")
    return metrics


if __name__ == "__main__":
    common.run(main)
