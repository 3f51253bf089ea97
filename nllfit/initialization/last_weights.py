"""`initialize`: the last weights of a model predict the marginal distribution of its outcomes."""

import math
from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.models import variable_of
from nllfit.adapters.tensorflow import mask_of
from nllfit.data import as_tensors, check_rows, check_weights, pack
from nllfit.families.arguments import as_array, as_numbers
from nllfit.families.layer import Origin
from nllfit.families.outcomes import as_column, as_outcomes, finite_part, weights_of_outcomes
from nllfit.families.protocol import ParametricFamily
from nllfit.initialization.marginal import marginal_numbers
from nllfit.outputs import as_distribution
from nllfit.prediction import origin_of

__all__ = ["initialize"]

_ROWS = 1024  # at a time
_PASSED = 4  # rows of inputs, to see what is a bias and whether it is all there is


def initialize(model: Model, x: Any, y: Any, sample_weight: Any = None) -> None:
    """Sets the last weights of a model so that it predicts the marginal distribution of the outcomes, whatever `x` is.

    The layer before a head gets a bias at the maximum-likelihood estimate from all outcomes, and a kernel of zeros; the
    weights that a head shares over inputs are set with it. So training begins at the marginal's negative
    log-likelihood, `-mean log p(y | theta)`, and not where a random network happens to put the outcomes, which can be
    1e15 nats away. The components of a mixture begin apart. All other weights stay as they are.

    Args:
      model: a model of tf_keras or of Keras 3 whose heads each follow a layer with a bias, such as `Dense`. It need not
        be compiled; give it before it is trained.
      x: inputs as `fit` takes them, arrays `[n, ...]` or a structure of them.
      y: outcomes `[n, *event]`, or `[n]` for an event of one element; for several outputs in the model's structure.
      sample_weight: how often each row counts, `[n]`; for several outputs in their structure, or for all. What Keras
        masks does not count.

    Raises:
      TypeError: if no output of the model is a head's.
      ValueError: for a model without such a bias, which is left as it is; for a dataset; for data that are empty, of
        lengths that differ, not finite, of another shape than the head's or outside its support; and as
        `maximum_likelihood`.

    Example:
      >>> import tf_keras
      >>> head = heads.DistributionHead("Weibull")
      >>> network = tf_keras.Sequential([tf_keras.layers.Dense(head.params_size()), head])
      >>> amounts = np.array([[1200.0], [1900.0], [1500.0], [1700.0]])
      >>> nllfit.initialize(network, x, amounts)
      >>> network(x[:1]).mean().numpy().round(-1)
      array([[1580.]], dtype=float32)

    Source: Karpathy, A recipe for training neural networks, 2019, "init well".
    """
    adapter_of(model)  # a `TypeError` for anything but a model
    for name, values in (("x", x), ("y", y)):
        if values is None:
            raise ValueError(f"`{name}` is missing: give an array, one row an example.")
    if isinstance(x, tf.data.Dataset):
        raise ValueError("`x` is a dataset: give arrays, with one row an example; some thousand of its rows will do.")
    data = as_tensors(pack(x, y, sample_weight), None, "")
    check_rows(data, "")
    check_weights(data, "")
    x, y, sample_weight = [*data, None][:3]
    few = tf.nest.map_structure(lambda rows: np.asarray(rows[:_PASSED]), x)
    with tf.GradientTape(persistent=True) as tape:
        outputs = model(few, training=False)
        flat = tf.nest.flatten(outputs)
    samples = _samples(model, x, y, sample_weight, outputs)
    vectors = {i: _vectors(origin_of(flat[i]).family, *sample) for i, sample in samples.items()}
    before = model.get_weights()
    try:
        for i, (params, shared) in vectors.items():
            origin: Any = origin_of(flat[i])
            _set_biases(model, tape, origin, params)
            if shared is not None:
                origin.shared.assign(tf.cast(shared, origin.shared.dtype))
        after = tf.nest.flatten(model(few, training=False))
        for i, (params, _) in vectors.items():
            _check(origin_of(after[i]), params, model)
    except BaseException:  # Ctrl-C included
        model.set_weights(before)
        raise


def _samples(model, x, y, sample_weight, outputs):
    """By the index of each head among the outputs its outcomes `[m, *event]` that count and their weights `[m]`."""
    flat = tf.nest.flatten(outputs)
    outcomes = _of_outputs("y", y, outputs)
    several = tf.nest.is_nested(outputs) and tf.nest.is_nested(sample_weight)
    weights = _of_outputs("sample_weight", sample_weight, outputs) if several else [sample_weight] * len(flat)
    masks: list = [None] * len(flat)
    if any(mask_of(output) is not None for output in flat):
        masks = _masks(model, x, len(outcomes[0]))
    heads = [i for i, output in enumerate(flat) if _is_head(output)]
    if not heads:
        origin_of(flat[0])  # raises
    return {i: _sample(flat[i], outcomes[i], weights[i], masks[i]) for i in heads}


def _masks(model, x, size):
    """Keras's masks of the outputs for all rows."""
    found: list = []
    for first in range(0, size, _ROWS):
        rows = slice(first, first + _ROWS)
        outputs = model(tf.nest.map_structure(lambda part, rows=rows: np.asarray(part[rows]), x), training=False)
        found.append([mask_of(output) for output in tf.nest.flatten(outputs)])
    return [None if parts[0] is None else np.concatenate(parts) for parts in zip(*found, strict=True)]


def _of_outputs(name, values, outputs):
    """Arrays in the structure of the outputs, as a list."""
    if not tf.nest.is_nested(outputs):
        return [values]
    try:
        tf.nest.assert_same_structure(outputs, values, check_types=False)
    except (TypeError, ValueError):
        raise ValueError(f"`{name}` is not structured as the model's outputs are: give an array for each.") from None
    return tf.nest.flatten(values)


def _is_head(output):
    try:
        return bool(origin_of(output))
    except TypeError:
        return False


def _sample(output, y, weights, mask):
    distribution = as_distribution(output)
    values = as_column(as_numbers("y", as_array(y)), distribution).numpy()
    as_outcomes(values[: distribution.batch_shape[0]], distribution, "y", len(values))
    batch = tf.TensorShape([len(values), *distribution.batch_shape[1:]])
    sample = values.reshape([-1, *distribution.event_shape])
    counts = np.ones(len(sample))
    for given in (weights, mask):
        if given is not None:
            counts *= np.reshape(weights_of_outcomes(given, batch, tf.constant(batch.as_list())), [-1])
    if not np.all(np.isfinite(finite_part(tf.constant(sample[counts > 0]), distribution))):
        raise ValueError("`y` holds outcomes that are not finite: drop such rows, or give them a weight of 0.")
    return sample[counts > 0], counts[counts > 0]


def _vectors(family: ParametricFamily, y: np.ndarray, weights: np.ndarray) -> tuple[tf.Tensor, tf.Tensor | None]:
    """The numbers at which the family is the outcomes' marginal distribution: the network's, and those it shares."""
    alone = family.unshared()
    parameters = alone.parameters(tf.constant(marginal_numbers(alone, y, weights)))
    return family.unconstrained(parameters), family.unconstrained(parameters, shared=True) if family.shared else None


def _set_biases(model: Model, tape: tf.GradientTape, origin: Origin, params: tf.Tensor) -> None:
    """Makes the numbers that a head takes `params`, whatever the inputs: a bias of that, behind a kernel of zeros."""
    layers = adapter_of(model).layers
    variables = [weight for weight in model.trainable_weights if len(weight.shape) == 1]
    for variable, places in zip(variables, _places(tape, origin.params, variables), strict=True):
        if places is not None:
            owners = [layer for layer in layers if any(w is variable for w in layer.trainable_weights)]
            for weight in min(owners, key=lambda layer: len(layer.weights)).trainable_weights:
                if weight.shape[-1:] == variable.shape:
                    weight.assign(tf.zeros_like(weight))
            variable.assign(tf.cast(tf.gather(params, places), variable.dtype))


def _places(tape, params, variables):
    """For each variable `[m]` which of a head's numbers its elements are added to, `[m]`; None if it is no such bias.

    Of a bias the gradient of a number is 1 for its own element, once for each position, and 0 for the others. All
    numbers are told apart by the digits of their places.
    """
    size, positions = params.shape[-1], math.prod(params.shape[1:-1])
    digits = np.arange(size)[None] >> np.arange(size.bit_length())[:, None] & 1
    first = np.zeros(params.shape)
    first[0] = 1.0

    def gradients(of):
        cotangent = tf.constant(first * of, params.dtype)
        found = tape.gradient(params, [variable_of(v) for v in variables], cotangent, unconnected_gradients="zero")
        return [np.asarray(gradient, np.float64) for gradient in found]

    counts, *by_digit = [gradients(of) for of in (np.ones(size), *digits)]
    for count, *parts in zip(counts, *by_digit, strict=True):
        shares = np.array(parts) / np.where(count, count, np.nan)
        is_bias = np.all((count == 1) | (count == positions)) and np.all((shares == 0) | (shares == 1))
        yield shares.astype(int).T @ 2 ** np.arange(len(digits)) if is_bias else None


def _check(origin: Origin, params: tf.Tensor, model: Model) -> None:
    """Raises a `ValueError` where the numbers that a head takes are not these, whatever the inputs."""
    is_16_bit = any(tf.as_dtype(layer.compute_dtype).size == 2 for layer in adapter_of(model).layers)
    tolerance = 1e-2 if is_16_bit else 1e-5
    if not np.allclose(origin.params, tf.cast(params, origin.params.dtype), rtol=tolerance, atol=tolerance):
        raise ValueError(
            f"The model cannot begin at the outcomes' distribution, as no trainable bias gives {origin.family.name}'s "
            f"{origin.family.params_size} numbers: let a `Dense({origin.family.params_size})`, with a bias and without "
            f"an activation, come before the head."
        )
