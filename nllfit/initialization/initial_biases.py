"""`initialize` sets the layer before each head so that the model predicts the marginal distribution of the outcomes."""

from typing import Any

import numpy as np
import tensorflow as tf

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import variable_of
from nllfit.adapters.tensorflow import mask_of
from nllfit.data_checks import as_tensors, check_rows, check_weights, num_rows, pack, rows_of
from nllfit.families.arguments import as_array, as_numbers
from nllfit.families.family_base import ParametricFamily
from nllfit.families.head_base import Origin
from nllfit.families.outcome_shapes import as_column, as_outcomes, finite_part, weights_of_outcomes
from nllfit.head_outputs import as_distribution
from nllfit.initialization.marginal_estimate import marginal_numbers
from nllfit.model_inputs import refusal_of, sparse_if_taken
from nllfit.output_masks import masks_of
from nllfit.prediction import origin_of

__all__ = ["initialize"]

# The check that the model's output does not depend on the input needs only a few rows. It uses this number of evenly
# spaced rows and, for each input, the row with the largest sum of absolute values.
_SPACED_ROWS = 4


def initialize(model: Model, x: Any, y: Any, sample_weight: Any = None) -> None:
    """Sets the layer before each head so that the model predicts the marginal distribution of `y` for every `x`.

    In the layer before a head, the kernel becomes zero, and the bias becomes an estimate of the parameters. Shared
    parameters of the head are set as well, unless the head is frozen. All other weights keep their values. Training
    then starts at about the negative log-likelihood of the marginal distribution. With random weights, the loss may
    start 1e15 nats higher if the outcomes are large.

    The estimate maximises the likelihood of the outcomes. If the head has more than 20 parameters, at most 20000 random
    outcomes are used. In all cases, the estimate is then changed in two ways. A bound of the support moves outward from
    the end of the sample, because a training step could otherwise move the bound past an outcome. A large parameter at
    which the likelihood is flat moves toward 0, because training could not change a parameter whose gradient is about
    0.

    If a mixture has more than 20 parameters, the search for the estimate starts with each component at a different part
    of the sample. If a value is repeated so often that a component could concentrate at this value, the likelihood has
    no upper bound. In this case we do not search: the estimate is the point at which the search would have started.

    Args:
      model: a Keras 2 or Keras 3 model in which each head follows a layer with a bias, such as `Dense`. The model need
        not be compiled. Call `initialize` before the training, because `initialize` overwrites trained weights.
      x: inputs as `fit_lbfgs` takes them: an array `[n, ...]`, a sparse matrix, or a structure of these.
      y: outcomes `[n, *event]`, or `[n]` for an event of one element. If the model has several outputs, a list or dict
        of such arrays, in the structure of the model's outputs.
      sample_weight: the number of times that each row counts, `[n]`. If the model has several outputs, either one array
        for all outputs, or arrays in the structure of the outputs. Outcomes that Keras masks do not count.

    Raises:
      TypeError: if `model` is not a Keras model, or none of its outputs comes from a head.
      ValueError: in the cases in which `maximum_likelihood` raises it, or if one of these is true:
        - No bias sets the parameters of a head. (The model then keeps its weights.)
        - `x` is a dataset.
        - The data are missing, empty, of different lengths or not finite.
        - A layer cannot take the inputs. (Only a few rows are tried.)
        - Outcomes do not have the head's shape, or are outside its support.

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
    adapter_of(model)  # raises a `TypeError` if it is not a model
    for name, values in (("x", x), ("y", y)):
        if values is None:
            raise ValueError(f"`{name}` is missing: give an array with one row per example.")
    if isinstance(x, tf.data.Dataset):
        raise ValueError("`x` is a dataset: give arrays with one row per example; a few thousand rows are enough.")
    data = as_tensors(pack(x, y, sample_weight, takes_sparse=True), None, "", takes_sparse=True)
    check_rows(data, "")
    check_weights(data, "")
    x, y, sample_weight = [*data, None][:3]
    probe = _probe_rows(x)
    with tf.GradientTape(persistent=True) as tape:
        with refusal_of("`x`"), sparse_if_taken(model, x):
            outputs = model(probe, training=False)
        flat = tf.nest.flatten(outputs)
    samples = _samples(model, x, y, sample_weight, outputs)
    vectors = {i: _vectors(origin_of(flat[i]).family, *sample) for i, sample in samples.items()}
    before = model.get_weights()
    try:
        for i, (params, shared) in vectors.items():
            origin: Any = origin_of(flat[i])
            _set_biases(model, tape, origin, params)
            if shared is not None and any(weight is origin.shared for weight in model.trainable_weights):
                origin.shared.assign(tf.cast(shared, origin.shared.dtype))
        after = tf.nest.flatten(model(probe, training=False))
        for i, (params, _) in vectors.items():
            _check(origin_of(after[i]), params, model)
    except BaseException:  # including Ctrl-C
        model.set_weights(before)
        raise


def _probe_rows(x):
    """Returns a few evenly spaced rows and, for each input, the row with the largest sum of absolute values.

    The row with the largest sum is included because all elements of the other rows may be 0. For rows of zeros, a layer
    without a bias has the same output whatever its kernel is, so these rows cannot show that the output of the model
    depends on the input.
    """
    rows = {*np.linspace(0, num_rows(x) - 1, _SPACED_ROWS).astype(int).tolist()}
    for leaf in tf.nest.flatten(x):
        if leaf.dtype != tf.string:
            total = tf.sparse.reduce_sum if isinstance(leaf, tf.SparseTensor) else tf.reduce_sum
            sizes = total(tf.abs(tf.cast(leaf, tf.float32)), list(range(1, len(leaf.shape))))
            rows.add(int(tf.argmax(sizes)))

    def joined(*parts):
        return tf.sparse.concat(0, list(parts)) if isinstance(parts[0], tf.SparseTensor) else tf.concat(parts, 0)

    return tf.nest.map_structure(joined, *(rows_of(x, row, row + 1) for row in sorted(rows)))


def _samples(model, x, y, sample_weight, outputs):
    """Returns a dict that maps the index of each output with a head to its sample.

    A sample is a pair: the outcomes `[m, *event]` that count, and their weights `[m]`.
    """
    flat = tf.nest.flatten(outputs)
    outcomes = _one_per_output("y", y, outputs)
    several = tf.nest.is_nested(outputs) and tf.nest.is_nested(sample_weight)
    weights = _one_per_output("sample_weight", sample_weight, outputs) if several else [sample_weight] * len(flat)
    masks: list = [None] * len(flat)
    if any(mask_of(output) is not None for output in flat):
        masks = masks_of(model, x)
    heads = [i for i, output in enumerate(flat) if _is_head(output)]
    if not heads:
        origin_of(flat[0])  # raises a `TypeError`
    return {i: _sample(flat[i], outcomes[i], weights[i], masks[i]) for i in heads}


def _one_per_output(name, values, outputs):
    """Returns the argument `name` as a list with one array for each output.

    Raises a `ValueError` if `values` and `outputs` have different structures.
    """
    if not tf.nest.is_nested(outputs):
        return [values]
    try:
        tf.nest.assert_same_structure(outputs, values, check_types=False)
    except (TypeError, ValueError):
        raise ValueError(
            f"`{name}` does not have the structure of the model's outputs: give an array for each."
        ) from None
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
    for row_weights in (weights, mask):
        if row_weights is not None:
            counts *= np.reshape(weights_of_outcomes(row_weights, batch, tf.constant(batch.as_list())), [-1])
    if not np.all(np.isfinite(finite_part(tf.constant(sample[counts > 0]), distribution))):
        raise ValueError("`y` holds outcomes that are not finite: drop such rows, or give them a weight of 0.")
    return sample[counts > 0], counts[counts > 0]


def _vectors(family: ParametricFamily, y: np.ndarray, weights: np.ndarray) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Returns the unconstrained parameters of the marginal distribution: the input of the head, and its shared weight.

    The shared weight is None if the head has no shared parameters.
    """
    unshared = family.unshared()
    parameters = unshared.parameters(tf.constant(marginal_numbers(unshared, y, weights)))
    return family.unconstrained(parameters), family.unconstrained(parameters, shared=True) if family.shared else None


def _set_biases(model: Model, tape: tf.GradientTape, origin: Origin, params: tf.Tensor) -> None:
    """Sets the bias of the layer before a head to `params` and the kernel to 0. The output is then always `params`.

    If the outputs of several layers are added, the first bias becomes `params` and the others become 0.
    """
    layers, remaining = adapter_of(model).layers, np.array(params)
    variables = [weight for weight in model.trainable_weights if len(weight.shape) == 1]
    for variable, indices in zip(variables, _indices_of_biases(tape, origin.params, variables), strict=True):
        if indices is not None:
            owners = [layer for layer in layers if any(w is variable for w in layer.trainable_weights)]
            for weight in min(owners, key=lambda layer: len(layer.weights)).trainable_weights:
                if weight.shape[-1:] == variable.shape:
                    weight.assign(tf.zeros_like(weight))
            variable.assign(tf.cast(remaining[indices], variable.dtype))
            remaining[indices] = 0.0


def _indices_of_biases(tape, params, variables):
    """Yields, for each variable `[m]`, the indices `[m]` of the elements of `params` to which the variable is added.

    Yields None for a variable that is not a bias. The gradient of an element of `params` with respect to a bias is 1
    for one element of the bias and 0 for the others. (If `params` has more axes, such as the steps of a sequence, the
    gradient is summed over all positions along these axes.)

    To find all indices, we need only one gradient for each binary digit of an index. Gradient `k` is the gradient of
    the sum of all elements of `params` whose index has 1 as binary digit `k`. If element `j` of a bias is added to
    element `i` of `params`, then element `j` of gradient `k` is digit `k` of the index `i`.
    """
    size = params.shape[-1]
    digits = np.arange(size)[None] >> np.arange(size.bit_length())[:, None] & 1
    all_positions, first_position = np.zeros([2, *params.shape])
    all_positions[0] = first_position[(0,) * (params.shape.rank - 1)] = 1.0

    def gradients(coefficients):
        cotangent = tf.constant(coefficients, params.dtype)
        results = tape.gradient(params, [variable_of(v) for v in variables], cotangent, unconnected_gradients="zero")
        return [np.asarray(gradient, np.float64) for gradient in results]

    firsts, counts, *by_digit = [
        gradients(coefficients)
        for coefficients in (first_position, all_positions, *(all_positions * digit for digit in digits))
    ]
    for first, count, *digit_gradients in zip(firsts, counts, *by_digit, strict=True):
        index_digits = np.array(digit_gradients) / np.where(count, count, np.nan)
        # A sum over many positions is not exact in 16 bits, so it suffices if the gradient at the first position is 1.
        is_bias = np.all((count == 1) | (first == 1)) and np.all((index_digits == 0) | (index_digits == 1))
        yield index_digits.astype(int).T @ 2 ** np.arange(len(digits)) if is_bias else None


def _check(origin: Origin, params: tf.Tensor, model: Model) -> None:
    """Raises a `ValueError` if any row of the head's input, `origin.params`, differs from `params`."""
    is_16_bit = any(tf.as_dtype(layer.compute_dtype).size == 2 for layer in adapter_of(model).layers)
    tolerance = 1e-2 if is_16_bit else 1e-5
    if not np.allclose(origin.params, tf.cast(params, origin.params.dtype), rtol=tolerance, atol=tolerance):
        raise ValueError(
            f"The model cannot be initialised, because no trainable bias sets the {origin.family.params_size} "
            f"parameters of {origin.family.name}: put a `Dense({origin.family.params_size})`, with a bias and without "
            f"an activation, before the head."
        )
