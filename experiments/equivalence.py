"""Are Keras's losses really negative log-likelihoods? Each Keras loss is compared with the loss of a head.

    python -m experiments.equivalence

For each Keras loss in the README's table (three crossentropies, squared error, absolute error and Poisson), two models
start from the same weights and train on the same batches of real data in float64. We call these two models *twins*. One
twin has the Keras loss. The other twin has a head and the generic `-log_prob` loss. Both train for the same number of
epochs. The loss of the twin with the head is a known factor times the Keras loss, plus a known offset. For the
crossentropies the factor is 1, and both twins use Adam. For the other losses both twins use plain SGD, and the learning
rate of the twin with the head is divided by the factor, so that both twins take the same steps.

Expected: the twins differ only by rounding errors, at most 1e-12 in the loss and the gradient and 1e-9 in the final
weights. Keras's Poisson loss adds Keras's epsilon to the rate, so the experiment sets this epsilon to 0.
"""

import contextlib
import dataclasses

import numpy as np
import tensorflow as tf
from sklearn import datasets
from sklearn.preprocessing import StandardScaler

import nllfit
from experiments import common
from nllfit.equivalence import EQUIVALENCES, Equivalence

# The scale of Normal and Laplace heads. With this scale, the loss of such a head is 2 times the Keras loss, plus an
# offset. Dividing a learning rate by 2 has no rounding error.
SIGMA = 0.5


@dataclasses.dataclass(frozen=True)
class Twins:
    """A row of `EQUIVALENCES`, and the data and the settings with which its two models, the twins, are trained."""

    row: Equivalence
    x: np.ndarray
    y: np.ndarray
    size: int
    optimizer: type
    learning_rate: float


def all_twins(keras):
    """Returns a `Twins` for each row of `EQUIVALENCES`, with a data set from scikit-learn."""
    rows = {row.head_text.partition("(")[0]: row for row in EQUIVALENCES}
    adam, sgd = keras.optimizers.Adam, keras.optimizers.SGD
    x, malignant = datasets.load_breast_cancer(return_X_y=True)
    images, labels = datasets.load_digits(return_X_y=True)
    patients, progression = datasets.load_diabetes(return_X_y=True)
    people, exercises = datasets.load_linnerud(return_X_y=True)  # counts of three exercises
    scaled = StandardScaler().fit_transform
    return [
        Twins(rows["Bernoulli"], scaled(x), malignant[:, None].astype("float64"), 1, adam, 1e-2),
        Twins(rows["OneHotCategorical"], images / 16, np.eye(10)[labels], 10, adam, 1e-2),
        Twins(rows["Categorical"], images / 16, labels, 10, adam, 1e-2),
        Twins(rows["Laplace"], scaled(patients), scaled(progression[:, None]), 1, sgd, 1e-2),
        Twins(rows["Poisson"], scaled(people), exercises, 3, sgd, 1e-4),
        Twins(rows["Normal"], scaled(patients), scaled(progression[:, None]), 1, sgd, 1e-2),
    ]


@contextlib.contextmanager
def double_precision(keras):
    """Returns a context in which Keras uses float64, and Keras's losses add no epsilon."""
    backend = keras.backend
    before = backend.floatx(), backend.epsilon()
    backend.set_floatx("float64")
    backend.set_epsilon(0.0)
    try:
        yield
    finally:
        backend.set_floatx(before[0])
        backend.set_epsilon(before[1])


def body(keras, num_inputs, units, seed):
    """Returns all layers of one of the two twins, except the last layer. The weights depend only on the seed."""
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    return [keras.Input((num_inputs,)), layers.Dense(32, "tanh", dtype="float64"), layers.Dense(units, dtype="float64")]


def compare(tools, twins, epochs, seed):
    """Trains both twins.

    Returns the factor and the offset between the losses, the relative differences of the losses and of the gradients
    before training, and the largest absolute difference of the final weights.
    """
    row, x, y, size = twins.row, twins.x, twins.y, twins.size
    scale, offset = row.scale(size, SIGMA), np.mean(row.offset(size, SIGMA, y))
    keras = tools.keras
    link = keras.layers.Activation(row.link, dtype="float64")
    keras_twin = keras.Sequential([*body(keras, x.shape[1], size, seed), link])
    head_twin = keras.Sequential([*body(keras, x.shape[1], size, seed), row.head(size, SIGMA, tools.heads)])
    unreduced = row.keras_loss(keras)
    keras_loss = type(unreduced).from_config(unreduced.get_config() | {"reduction": "sum_over_batch_size"})
    keras_twin.compile(twins.optimizer(twins.learning_rate), keras_loss, jit_compile=False)
    shrink = scale if twins.optimizer is keras.optimizers.SGD else 1
    head_twin.compile(twins.optimizer(twins.learning_rate / shrink), tools.loss, jit_compile=False)

    losses, gradients = [], []
    for model in (keras_twin, head_twin):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(y=tf.constant(y), y_pred=model(x))
        losses.append(float(loss))
        gradients.append([value.numpy() for value in tape.gradient(loss, model.trainable_weights)])
        title = f"{row.loss} on {len(x)} rows" if model is keras_twin else row.head_text
        bar = common.progress_bar(keras, title)
        nllfit.fit(model, x, y, epochs=epochs, shuffle=False, verbose=0, callbacks=[bar], compile="graph")
    expected = scale * losses[0] + offset
    gradient_difference = common.largest_difference(gradients[1], [scale * g for g in gradients[0]])
    return {
        "scale": float(scale),
        "offset": float(offset),
        "loss_difference": abs(losses[1] - expected) / abs(expected),
        "gradient_difference": gradient_difference / max(np.abs(value).max() for value in gradients[1]),
        "weight_difference": common.largest_difference(head_twin.get_weights(), keras_twin.get_weights()),
    }


def main(argv=None):
    """Runs the experiment and returns its metrics for each Keras loss."""
    parser = common.parser(__doc__, "equivalence")
    parser.add_argument("--epochs", type=int, default=5, help="epochs of each twin (default: %(default)s)")
    arguments = common.checked(parser.parse_args(argv), epochs=1)
    tools = common.toolkit(arguments.keras)
    with common.run_folder(arguments) as folder, double_precision(tools.keras):
        metrics = {
            twins.row.loss: compare(tools, twins, arguments.epochs, arguments.seed) for twins in all_twins(tools.keras)
        }
        common.write_json(folder / "metrics.json", metrics)
        print(f"\n{'':47}{'known':>20} {'largest difference':>26}")
        print(f"{'Keras loss':47}{'scale':>9}{'offset':>11}{'loss':>10}{'gradient':>10}{'weights':>10}")
        for loss, row in metrics.items():
            differences = (row["loss_difference"], row["gradient_difference"], row["weight_difference"])
            cells = f"{loss:47}{row['scale']:9.4f}{row['offset']:11.4f}"
            print(cells + "".join(f"{value:10.1e}" for value in differences))
    return metrics


if __name__ == "__main__":
    common.run(main)
