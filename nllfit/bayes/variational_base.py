"""Variational layers: Keras layers in which each weight has a distribution. This module is for both Keras versions."""

import dataclasses
import inspect
import math
import numbers
import random
from typing import Any

import tensorflow as tf
from tensorflow_probability import distributions as tfd

from nllfit.adapters.tensorflow import untouched
from nllfit.bayes.divergences import check_comparable, estimated_divergence, exact_divergence, in_dtype_of
from nllfit.bayes.flipout_and_reparameterization import ESTIMATORS, check_estimator
from nllfit.bayes.weight_families import as_given, initial_vector, of_weights, plain_prior, prior_of_weights
from nllfit.families.arguments import as_count
from nllfit.families.configs import plain, restored
from nllfit.families.family_base import ParametricFamily

__all__ = ["Variational"]

_BY_ROWS = "1/n"


@dataclasses.dataclass(frozen=True)
class _Arguments:
    """The arguments that a variational layer has in addition to those of the Keras layer."""

    kl_weight: float | str
    posterior: Any
    prior: Any
    estimator: str
    seed: int | None


class _Declared:
    """A weight that the Keras layer adds in its `build`. The layer gets this object instead of a variable.

    Attributes:
      shape: the shape of the weight.
      initializer: the Keras initializer of the weight.
      elements: the slice of the weight's elements in the vector of all weights of the layer.
    """

    def __init__(self, shape: tuple[int, ...], initializer: Any, start: int):
        self.shape, self.initializer = shape, initializer
        self.elements = slice(start, start + math.prod(shape))


class Variational:
    """The first base class of a variational layer. The second one is a mix-in, and the third one is a Keras layer.

    The mix-in contains the code that differs between the Keras versions. The weights that the Keras layer adds in its
    method `build` are joined to one vector, which has a posterior. The parameters of this posterior are a variable of
    the layer. The method `call` of the Keras layer computes with weights that an estimator draws in each call. The
    divergence of the posterior from the prior is a regularizer of the variable, because Keras adds a regularizer to the
    loss only once, even if the layer is called several times.
    """

    _declared: list[_Declared] | None = None  # None, except during `build` of the layer
    _first: Any  # the mix-in defines this and the next three attributes
    _add_vector: Any
    _start_draws: Any
    _next_seed: Any
    compute_dtype: Any  # the Keras layer defines this attribute
    takes_indices: bool  # whether inputs are indices; these are not cast, and Flipout gives them no random signs
    _weight: Any = None

    def __init__(
        self,
        *args: Any,
        kl_weight: Any = None,
        posterior: Any = "Normal",
        prior: Any = 1.0,
        estimator: str = "flipout",
        seed: int | None = None,
        **kwargs: Any,
    ):
        posterior = restored(posterior)
        if not isinstance(posterior, ParametricFamily):
            of_weights("posterior", posterior, 1)  # raises a `ValueError` for an unknown family
        if estimator not in list(ESTIMATORS):  # a list, because a dict raises an error for an unhashable value
            raise ValueError(f"`estimator` is {estimator!r}: give one of {', '.join(map(repr, ESTIMATORS))}.")
        for name, value in kwargs.items():
            is_of_weights = name.endswith(("_regularizer", "_constraint")) and name != "activity_regularizer"
            if is_of_weights and value is not None:
                raise ValueError(f"`{name}` is for fixed weights, but these are random: give a `prior`.")
        self._arguments = _Arguments(
            _as_kl_weight(kl_weight), posterior, as_given(prior), estimator, as_count("seed", seed, 0, True)
        )
        super().__init__(*args, **kwargs)
        self._start_draws(random.randint(1, 10**9) if seed is None else seed)
        self._num_rows: int | None = None

    def add_weight(self, *args: Any, **kwargs: Any) -> Any:
        """Records a weight that the Keras layer adds in its `build`. At other times, adds a variable as Keras does."""
        if self._declared is None:
            return super().add_weight(*args, **kwargs)  # type: ignore[misc]
        arguments = inspect.signature(super().add_weight).bind(*args, **kwargs).arguments  # type: ignore[misc]
        start = self._declared[-1].elements.stop if self._declared else 0
        self._declared.append(_Declared(tuple(arguments["shape"]), arguments.get("initializer"), start))
        return self._declared[-1]

    def build(self, input_shape: Any) -> None:
        declared: list[_Declared] = []
        vars(self)["_declared"] = declared  # not by `setattr`, because Keras would then track the list
        super().build(input_shape)  # type: ignore[misc]
        vars(self)["_declared"] = None
        # Keras has set `built` to True. If a check below fails, `Sequential` calls the layer again. Then `build` must
        # run again and raise the same error.
        self.built = False
        self._slots = _Slots({name: value for name, value in vars(self).items() if isinstance(value, _Declared)})
        size = declared[-1].elements.stop
        with tf.init_scope():
            family = of_weights("posterior", self._arguments.posterior, size).holding({"validate_args": False})
            self._family, self._prior = family, prior_of_weights(self._arguments.prior, size)
            self._check(input_shape)

        def start(shape, dtype=None):
            first = [tf.reshape(self._first(d.initializer, d.shape), [-1]) for d in declared]
            return tf.cast(initial_vector(family, tf.concat(first, 0)), dtype or tf.float32)

        self._vector = self._add_vector("posterior", family.params_size, start, regularizer=self._term)
        learned = self._prior.num_learned
        self._learned = self._add_vector("prior", learned, "zeros") if learned else None
        self._weight = self._add_vector("kl_weight", 1, "zeros", trainable=False) if self.counts_rows else None
        if self._num_rows is not None:
            self.count_rows(self._num_rows)
        self.built = True

    @tf.autograph.experimental.do_not_convert
    def call(self, inputs: Any, training: Any = None) -> tf.Tensor:
        """Returns the output of the Keras layer for one draw. The estimator draws either the weights or the outputs."""
        if training and self._weight is not None and self._num_rows is None:
            raise untouched(
                ValueError(
                    '`kl_weight` is "1/n", and only `nllfit.fit` on arrays, or on a dataset of known length, knows the '
                    "number of rows: give the number, as in `kl_weight=1 / len(x)`."
                )
            )
        # The Keras layer casts its inputs in its own `call`. Estimators use the inputs earlier, so we cast them here.
        if not self.takes_indices:
            inputs = tf.cast(inputs, self.compute_dtype)
        return ESTIMATORS[self._arguments.estimator](self, self.posterior(), inputs, self._next_seed())

    def posterior(self) -> tfd.Distribution:
        """Returns the distribution of the vector of all weights: first the kernel, then the bias."""
        return self._family.distribution(tf.convert_to_tensor(self._vector))

    def prior(self) -> tfd.Distribution:
        """Returns the prior of the vector of all weights."""
        return self._prior.distribution(None if self._learned is None else tf.convert_to_tensor(self._learned))

    def kl_divergence(self) -> tf.Tensor:
        """Returns the KL divergence of the posterior from the prior, in nats.

        If TFP has no formula, the divergence is estimated from one draw.
        """
        q = self.posterior()
        p = in_dtype_of(self.prior(), q)
        exact = exact_divergence(q, p)
        return estimated_divergence(q, p, q.sample(1, seed=self._next_seed())) if exact is None else exact

    @property
    def counts_rows(self) -> bool:
        """Whether `kl_weight` is "1/n"."""
        return self._arguments.kl_weight == _BY_ROWS

    def count_rows(self, num_rows: int | None) -> None:
        """Sets the number of rows for a `kl_weight` of "1/n". With None (unknown), training raises an error."""
        self._num_rows = num_rows
        if num_rows is not None and self._weight is not None:
            self._weight.assign([1 / num_rows])

    def linear(self, inputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """Returns the output of the Keras layer before its activation, for weights `[size]`."""
        weights = tf.cast(weights, self.compute_dtype)
        drawn = {name: tf.reshape(weights[slot.elements], slot.shape) for name, slot in self._slots.by_name.items()}
        drawn |= {"activation": None} if "activation" in vars(self) else {}
        originals = {name: vars(self)[name] for name in drawn}
        vars(self).update(drawn)
        try:
            return super().call(inputs)  # type: ignore[misc]
        finally:
            vars(self).update(originals)

    def activated(self, outputs: tf.Tensor) -> tf.Tensor:
        """Applies the layer's activation to outputs of `linear`."""
        activation = vars(self).get("activation")
        return outputs if activation is None else activation(outputs)

    @property
    def channel_axis(self) -> int:
        """The axis of channels in inputs and outputs."""
        return 1 if vars(self).get("data_format") == "channels_first" else -1

    def get_config(self) -> dict[str, Any]:
        arguments = vars(self._arguments)
        plain_values = {"posterior": plain(arguments["posterior"]), "prior": plain_prior(arguments["prior"])}
        return super().get_config() | arguments | plain_values  # type: ignore[misc]

    def _term(self, _):
        divergence = self.kl_divergence()
        weight = self._arguments.kl_weight if self._weight is None else tf.convert_to_tensor(self._weight)[0]
        return divergence * tf.cast(weight, divergence.dtype)

    def _check(self, input_shape):
        """Raises a `ValueError` if the posterior, the prior, the estimator and the inputs are not compatible."""
        estimator = self._arguments.estimator
        q = self._family.distribution(tf.zeros([1, self._family.params_size]))
        check_estimator(estimator, q)
        check_comparable(q, self._prior.example(), "those of the layer's weights")
        uses_once = len(input_shape) == 2 and hasattr(self, "units")
        if estimator == "local_reparameterization" and not uses_once:
            raise ValueError(
                '`estimator` is "local_reparameterization", which is only for Dense layers of inputs [B, C], where a '
                'row uses each weight once: give "flipout" or "reparameterization".'
            )


class _Slots:
    """The recorded weights: `by_name[name]` is the weight in the layer's attribute `name`.

    This class is not a dict, because Keras tracks the dicts in a layer's attributes.
    """

    def __init__(self, by_name: dict[str, _Declared]):
        self.by_name = by_name


def _as_kl_weight(kl_weight):
    if isinstance(kl_weight, str) and kl_weight == _BY_ROWS:
        return kl_weight
    is_number = isinstance(kl_weight, numbers.Real) and not isinstance(kl_weight, bool)
    if is_number and 0 <= kl_weight < math.inf:
        return float(kl_weight)
    problem = "missing" if kl_weight is None else repr(kl_weight)
    raise ValueError(
        f"`kl_weight` is {problem}: give 1 / num_rows, because the loss is a mean over rows and the divergence is not; "
        f'or "1/n", which `nllfit.fit` replaces.'
    )
