"""Laplace's approximation: a Normal posterior of a trained network's weights, from the curvature of the likelihood."""

import math
import numbers
import os
import pathlib
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.adapters import Model, adapter_of
from nllfit.adapters.keras_models import variable_of
from nllfit.adapters.tensorflow import mask_of, trace, with_mask
from nllfit.bayes.fisher_information import Fisher, derivatives
from nllfit.bayes.map_search import Objective, Posterior
from nllfit.bayes.quadrature_mixtures import mixture_over
from nllfit.data_checks import as_inputs, num_rows, rows_of, specs_of_rows
from nllfit.families.arguments import as_count
from nllfit.families.head_base import Head
from nllfit.families.law import law_of
from nllfit.head_outputs import output_like
from nllfit.inference.argument_checks import check_size_of, checked
from nllfit.inference.weight_names import leading_to
from nllfit.model_inputs import by_input, check_shapes, refusal_of
from nllfit.prediction import check_one_shape, dataset_inputs, origin_of
from nllfit.saved_models import load_model, new_folder
from nllfit.training.fit_arguments import check_trainable
from nllfit.training.loss_surface import flat_weights, set_weights, surface_over

__all__ = ["Laplace", "laplace"]

_EVIDENCE = "marginal likelihood"
_SAVED_ATTRIBUTES = "mean", "covariance", "prior_scale", "log_evidence"


class Laplace:
    """The result of `nllfit.laplace`: a model, and the Normal posterior of some of the model's weights.

    A `Laplace` is called like the model. Let `u = f(x)` be the input of the model's head, `w` the values of the chosen
    weights in the model, and `J(x)` the Jacobian of `f` with respect to these weights at `w`. `f` is replaced by its
    first-order expansion around `w`. Under the posterior, `u` is then Normal, and the predicted distribution is a
    mixture over `u`:

        p(y | x) = integral p(y | u) Normal(u; f(x) + J(x) (mean - w), J(x) covariance J(x)') du

    The integral is computed as a sum over at most 100 points. They are Gauss-Hermite points if `u` has up to four
    elements. Otherwise they are random points, the same in every call. The mean of these points equals the mean of
    `u`. If `u` has up to 50 elements, their covariance also equals the covariance of `u`.

    `predict_distribution`, `evaluate` and all of `nllfit.calibration` take a `Laplace` in place of a model. Do not
    change the weights of `model`, because the posterior belongs to the present weights.

    Attributes:
      model: the model, which `laplace` does not change.
      mean: the posterior mean of the `q` chosen weights, `[q]`.
      covariance: the posterior covariance of these weights, `[q, q]`.
      prior_scale: the standard deviation of the prior of each weight, `Normal(0, prior_scale)`.
      log_evidence: the log marginal likelihood of the data, in nats.
    """

    file = "laplace.npz"  # `save` writes the posterior to this file

    def __init__(self, model: Model, places: Sequence[int], posterior: Posterior):
        self.model, self.mean, self.covariance = model, posterior.mean, posterior.covariance
        self.prior_scale, self.log_evidence = posterior.prior_scale, posterior.log_evidence
        self._places = tuple(map(int, places))  # the indices of the weights in `trainable_variables`
        self._weights = [variable_of(model.trainable_variables[place]) for place in self._places]
        self._program = tf.function(self._posterior_of_head_inputs, autograph=False)

    @property
    def output_names(self) -> list[str]:
        """The names of the model's outputs, as in Keras."""
        return self.model.output_names

    def __call__(self, x: Any, training: bool = False) -> Any:
        """Returns the mixture at inputs `x`, in the form in which the model returns its own distribution."""
        output = self.model(x, training=training)
        origin = origin_of(output)
        distribution = mixture_over(origin.family, origin.shared, *self._mean_and_root(x))
        return output_like(output, distribution, law_of(distribution).central_value())

    def predict_distribution(self, x: Any, batch_size: int = 32) -> tfd.Distribution:
        """Returns the mixtures of all rows. For the arguments, see `nllfit.predict_distribution`."""
        outputs, means_and_roots = [], []
        for batch in _batches(self.model, x, as_count("batch_size", batch_size, 1)):
            with refusal_of("a batch of `x`"):
                outputs.append(self.model(batch, training=False))
                means_and_roots.append(self._mean_and_root(batch))
        if not outputs:
            raise ValueError("The dataset in `x` is empty: there is nothing to predict.")
        origin, masks = origin_of(outputs[0]), list(map(mask_of, outputs))
        check_one_shape([means.shape] for means, _ in means_and_roots)
        means, roots = (tf.concat(part, 0) for part in zip(*means_and_roots, strict=True))
        mask = None if masks[0] is None else tf.concat(masks, 0)
        return with_mask(mixture_over(origin.family, origin.shared, means, roots), mask)

    def save(self, folder: str | os.PathLike) -> None:
        """Writes the model and the posterior to a new or empty folder.

        Raises:
          ValueError: if the folder is not empty.
        """
        arrays = {name: getattr(self, name) for name in _SAVED_ATTRIBUTES}
        with new_folder(folder) as path:
            np.savez(path / self.file, places=self._places, **arrays)
            self.model.save(path / "model.keras")

    @classmethod
    def load(cls, folder: str | os.PathLike) -> "Laplace":
        """Reads a `Laplace` that `save` wrote, in Keras's safe mode, which runs no code from a file.

        Raises:
          ValueError: if the folder does not exist, or a file in it is missing or damaged.
        """
        folder = pathlib.Path(folder)
        try:
            with np.load(folder / cls.file, allow_pickle=False) as file:
                mean, covariance, *scalars = (file[name] for name in _SAVED_ATTRIBUTES)
                places = file["places"]
            posterior = Posterior(mean, covariance, *map(float, scalars))
        except (OSError, EOFError, KeyError, TypeError, ValueError, zipfile.BadZipFile):
            raise ValueError(
                f"`folder` {folder} has no complete {cls.file}: name a folder that `save` wrote."
            ) from None
        return cls(load_model(folder / "model.keras"), places, posterior)

    def _mean_and_root(self, x):
        x = tf.nest.map_structure(tf.convert_to_tensor, x)
        specs = specs_of_rows(x)
        # A direct call of `_program` would make TensorFlow warn of retracing when structures of `x` differ.
        mean_and_root = trace(self._program, specs)(x)
        if not tf.executing_eagerly() or num_rows(x) == 1 or np.isfinite(tf.reduce_sum(mean_and_root[1]).numpy()):
            return mean_and_root
        # TensorFlow computes the Jacobian of a row as a sum over all rows, with the factor 0 for the other rows. But 0
        # times NaN is NaN, so a NaN in one row of `x` makes all rows NaN. Therefore, if the result contains NaN, we
        # compute each half of the rows separately.
        half = num_rows(x) // 2
        halves = self._mean_and_root(rows_of(x, 0, half)), self._mean_and_root(rows_of(x, half, num_rows(x)))
        return tuple(tf.concat(part, 0) for part in zip(*halves, strict=True))

    def _posterior_of_head_inputs(self, x):
        """Returns the mean `[*batch, d]` of the head's inputs, and a matrix `R` `[*batch, d, d]`.

        The covariance of the head's inputs is `R R'`.
        """
        with tf.GradientTape(persistent=True) as tape:
            params = origin_of(self.model(x, training=False)).params
        jacobians = tf.cast(derivatives(tape, params, self._weights), tf.float64)
        shift = tf.constant(self.mean) - tf.concat([tf.reshape(tf.cast(w, tf.float64), [-1]) for w in self._weights], 0)
        covariances = tf.einsum("...dp,pq,...eq->...de", jacobians, self.covariance, jacobians)
        finite = tf.reduce_all(tf.math.is_finite(covariances), [-2, -1], keepdims=True)
        eigenvalues, eigenvectors = tf.linalg.eigh(tf.where(finite, covariances, 0.0))  # `eigh` refuses NaN
        root = tf.where(finite, eigenvectors * tf.sqrt(tf.maximum(eigenvalues, 0.0))[..., None, :], np.nan)
        return params + tf.cast(tf.linalg.matvec(jacobians, shift), params.dtype), tf.cast(root, params.dtype)


def laplace(
    model: Model,
    x: Any,
    y: Any,
    *,
    layers: str = "last",
    prior_scale: float | str = 1.0,
    sample_weight: Any = None,
) -> Laplace:
    """Laplace's approximation: a Normal posterior of a trained network's weights, from the curvature of the likelihood.

    Each weight has the prior `Normal(0, s)`. The posterior is `Normal(mean, inv(F + I / s^2))`, where `F` is the Fisher
    information of the `n` outcomes about the weights. `F` is estimated from at least 100 draws for each row if TFP has
    no formula for the KL divergence between two distributions of the head's family, as for a StudentT, or if the
    density is not smooth, as for a Laplace head. The error of `F` is then about 2% for 30 rows.

    - With `layers="last"`, the mean is the maximum of the posterior. Newton's method finds it, starting at the model's
      weights.
    - With `layers="all"`, the mean is the model's weights. They are the maximum of the posterior if the network was
      trained with the regularizer `L2(1 / (2 n s^2))` of each weight. Up to a constant, this regularizer is the
      negative log prior divided by `n`.

    For a `Normal` head of fixed scale whose mean is linear in the weights, the posterior and the evidence are exact.
    The predictions are then exact, too, except that an integral is computed as a sum over at most 100 points (see the
    class `nllfit.Laplace`). This sum is a coarse approximation if the variance due to the uncertain weights is much
    larger than the variance of the noise. Shared parameters of a head are treated as known.

    Args:
      model: a compiled and trained model of either Keras version that ends in one head.
      x, y: the arrays that the model was trained on.
      layers: which weights get a posterior, at most 2000 of them. `"last"` selects the last layer with weights before
        the head or, if the head receives a sum, the last such layer of each summand. `"all"` selects all trainable
        weights except the shared parameters of the head.
      prior_scale: `s`, a positive number; or `"marginal likelihood"` for the scale that maximises the evidence.
      sample_weight: how often each row counts, `[n]`, as in the training.

    Returns:
      A `Laplace`, which can be called, scored and calibrated like the model.

    Raises:
      TypeError, ValueError: if one of these is true:
        - `standard_errors` does not accept the model or the data. (`standard_errors` accepts at most 2000 weights.
          Here only the weights of the chosen layers count.)
        - `layers` or `prior_scale` is invalid.
        - The outcomes are intervals (`Censored`) or have windows that differ between rows (`Truncated`).
        - No maximum of the posterior is found near the weights, or no maximum of the evidence for a `prior_scale`
          between 1e-5 and 1e5.

    Example:
      >>> import tf_keras
      >>> line = tf_keras.Sequential([tf_keras.layers.Dense(1), nllfit.heads.Normal(scale=1.0)])
      >>> line.compile(loss=nllfit.negative_log_likelihood)
      >>> x, y = np.array([[-1.0], [0.0], [1.0]]), np.array([[-2.0], [0.0], [2.0]])
      >>> history = nllfit.fit_lbfgs(line, x, y, verbose=0)
      >>> posterior = nllfit.laplace(line, x, y, prior_scale=1.0)
      >>> posterior.mean.round(3), predict_distribution(posterior, np.array([[3.0]])).stddev().numpy().round(3)
      (array([1.333, 0.   ]), array([[2.062]], dtype=float32))

    Source: MacKay, A practical Bayesian framework for backpropagation networks, 1992; Immer, Korzepa and Bauer,
    Improving predictions of Bayesian neural nets via local linearization, 2021.
    """
    check_trainable(model)
    _check_options(layers, prior_scale)
    data, _ = checked(model, x, y, sample_weight)
    weights = _last_weights(model) if layers == "last" else _weights_without_shared(model)
    check_size_of(layers, weights)
    places = tuple(next(i for i, w in enumerate(model.trainable_variables) if w is weight) for weight in weights)
    initial_weights, fixed_scale = flat_weights(model), None if prior_scale == _EVIDENCE else float(prior_scale)
    with surface_over(Fisher, model, data) as surface:
        try:
            objective = Objective(surface, initial_weights, places, fixed_scale)
            posterior = objective.at_the_weights() if layers == "all" else objective.at_the_maximum()
        finally:
            set_weights(model, initial_weights)
    return Laplace(model, places, posterior)


def _check_options(layers, prior_scale):
    if layers not in ("last", "all"):
        raise ValueError(f'`layers` is {layers!r}: give "last" or "all".')
    is_number = isinstance(prior_scale, numbers.Real) and not isinstance(prior_scale, bool)
    if not (prior_scale == _EVIDENCE if isinstance(prior_scale, str) else is_number and 0 < prior_scale < math.inf):
        raise ValueError(f'`prior_scale` is {prior_scale!r}: give a positive number, or "{_EVIDENCE}".')


def _weights_without_shared(model):
    shared = [layer._shared for layer in adapter_of(model).layers if isinstance(layer, Head)]
    return [weight for weight in model.trainable_variables if not any(weight is other for other in shared)]


def _last_weights(model):
    """Returns the trainable weights of the last trainable layers before the head."""
    adapter = adapter_of(model)
    *_, head = [layer for layer in adapter.layers if isinstance(layer, Head)]
    layers = _last_layers(head, adapter.layers, adapter.keras) or [_last_trainable(adapter.layers, adapter.keras)]
    weights = [weight for layer in layers if layer is not None for weight in layer.trainable_weights]
    return list({id(weight): weight for weight in weights}.values())  # several paths may lead to one layer


def _last_layers(layer, layers, keras):
    """Follows each path back from a layer, and returns the first layer with trainable weights on each path.

    The model must be functional.
    """
    last_layers = []
    for before in leading_to(layer, layers, keras.layers.Add):
        if before is not None and before.trainable_weights:
            last_layers.append(
                _last_trainable(adapter_of(before).layers, keras) if isinstance(before, keras.Model) else before
            )
        elif before is not None:
            last_layers += _last_layers(before, layers, keras)
    return last_layers


def _last_trainable(layers, keras):
    """Returns the last of `layers` that has trainable weights and is neither a model nor a head, or None."""
    candidates = [layer for layer in layers if layer.trainable_weights and not isinstance(layer, (Head, keras.Model))]
    return candidates[-1] if candidates else None


def _batches(model: Model, x: Any, batch_size: int) -> Iterator[Any]:
    """Yields batches of the inputs. Arrays `[n]` become `[n, 1]`, as in Keras's `predict`."""
    if isinstance(x, tf.data.Dataset):
        yield from dataset_inputs(x)
        return
    x = tf.nest.map_structure(lambda t: t[:, None] if np.ndim(t) == 1 else t, as_inputs(x))
    check_shapes(model, by_input(model, x))
    for start in range(0, num_rows((x,)), batch_size):
        yield tf.nest.map_structure(lambda t, start=start: tf.convert_to_tensor(t[start : start + batch_size]), x)
