"""Makes the variational layers, with their documentation, from the layers of either Keras version."""

import inspect
from collections.abc import Callable
from typing import Any

from nllfit.bayes.variational_base import Variational

__all__ = ["LAYERS", "variational_layers"]

LAYERS = {
    "DenseVariational": "Dense",
    "Conv1DVariational": "Conv1D",
    "Conv2DVariational": "Conv2D",
    "Conv3DVariational": "Conv3D",
    "Conv1DTransposeVariational": "Conv1DTranspose",
    "Conv2DTransposeVariational": "Conv2DTranspose",
    "Conv3DTransposeVariational": "Conv3DTranspose",
    "EmbeddingVariational": "Embedding",
}
_DOC = """Keras's `{base}` layer with uncertain weights: it learns their posterior, and each call draws new weights.

If `q` is the posterior and `p` the prior of all weights of the layer, including the bias, the layer adds

    kl_weight * KL(q || p)

to the loss. Let the loss without this term be the mean negative log-likelihood of `n` rows. With `kl_weight = 1 / n`,
the total loss is then `1 / n` times the negative evidence lower bound (ELBO). If each row is a sequence of `T`
outcomes, the mean is over `n * T` outcomes. Give `1 / (n * T)` then, because "1/n" counts only rows.

Prediction also draws weights, so `nllfit.predict_distribution(model, x, num_samples=100)` is the mixture over 100 draws
from the posterior.

There are three estimators. "reparameterization" draws the weights once for a batch. "flipout" also draws once. For each
row, it flips the signs of the weights' deviations from their means at random. The gradient then has less noise than
with "reparameterization". "local_reparameterization" draws the outputs of each row before the activation, and needs a
`Dense` layer with inputs `[B, C]`. "flipout" and "local_reparameterization" need independent Normal weights.

Args:
  *args, **kwargs: the arguments of Keras's `{base}`, without regularizers and constraints of weights. Initializers set
    the initial means of the posterior.
  kl_weight: the factor of the divergence, usually 1 / num_rows; or "1/n", for which `nllfit.fit` inserts the number of
    rows. (In a `tf.data.Dataset` of known length, `fit` counts the rows in a pass over the data.) There is no default.
  posterior: the name of a family, or a `Family` of one weight or of the vector of all weights. "MultivariateNormalTriL"
    has a full covariance; use it for small layers, with `estimator="reparameterization"`.
  prior: the scale of a Normal around 0 for each weight; a distribution of one weight or of the vector of all weights;
    or a family or the name of a family. The parameters of a family are learned together with the posterior.
  estimator: "flipout", "reparameterization" or "local_reparameterization".
  seed: the seed of the draws; by default from Python's generator, which Keras's `set_random_seed` seeds.

Raises:
  ValueError: if `kl_weight` is missing or an argument is invalid.
  ValueError: when the layer is built, if the posterior or the prior has another number of weights than the layer, or if
    the estimator does not support the posterior or the inputs.
  ValueError: in training with `kl_weight="1/n"`, unless `nllfit.fit` trains the model on arrays or on a
    `tf.data.Dataset` of known length.

Example:
  >>> layer = {package}.{name}({arguments}, kl_weight=1 / 500)
  >>> layer(tf.zeros({shape})).shape, layer.posterior().event_shape
  (TensorShape({out}), TensorShape([{size}]))

Source: {source}
"""
_SOURCE = "Blundell et al., Weight uncertainty in neural networks, 2015; Wen et al., Flipout, 2018."
# The arguments, the input shape, the output shape and the number of weights in the docstring's example of each layer.
_EXAMPLES: dict[str, tuple] = {
    "Dense": ("2", [8, 3], [8, 2], 8),
    "Conv1D": ("2, 3", [8, 5, 1], [8, 3, 2], 8),
    "Conv2D": ("2, 3", [8, 5, 5, 1], [8, 3, 3, 2], 20),
    "Conv3D": ("2, 3", [8, 5, 5, 5, 1], [8, 3, 3, 3, 2], 56),
    "Conv1DTranspose": ("2, 3", [8, 5, 1], [8, 7, 2], 8),
    "Conv2DTranspose": ("2, 3", [8, 5, 5, 1], [8, 7, 7, 2], 20),
    "Conv3DTranspose": ("2, 3", [8, 5, 5, 5, 1], [8, 7, 7, 7, 2], 56),
    "Embedding": ("10, 2", [8], [8, 2], 20),
}


def variational_layers(layers: Any, mixin: type, register: Callable, module: str) -> dict[str, type]:
    """Returns the variational layers by name.

    Args:
      layers: Keras's module of layers.
      mixin: the mix-in for this Keras version. It makes seeds and vectors of weights.
      register: a function that registers a class in this Keras version, so that saved models can be loaded.
      module: the name of the module from which users import the classes.
    """
    classes = {}
    for name, base in LAYERS.items():
        keras_layer = getattr(layers, base)
        arguments, shape, out, size = _EXAMPLES[base]
        example = {"arguments": arguments, "shape": shape, "out": out, "size": size, "source": _SOURCE}
        package = module.removeprefix("nllfit.")
        attributes = {
            "__doc__": _DOC.format(base=base, name=name, package=package, **example),
            "__module__": module,
            "__signature__": _signature(keras_layer),
            "takes_indices": base == "Embedding",
        }
        classes[name] = register(type(name, (Variational, mixin, keras_layer), attributes))
    return classes


def _signature(keras_layer):
    """Returns the signature of a variational layer: the arguments of the Keras layer and the additional ones."""
    of_keras, of_variational = (inspect.signature(cls.__init__).parameters for cls in (keras_layer, Variational))
    variadic_kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = [p for name, p in of_keras.items() if name != "self"]
    added = [p for p in of_variational.values() if p.kind is inspect.Parameter.KEYWORD_ONLY]
    added = [p.replace(default=p.empty) if p.name == "kl_weight" else p for p in added]
    ordered = [p for p in parameters if p.kind not in variadic_kinds] + added
    return inspect.Signature([*ordered, *(p for p in parameters if p.kind in variadic_kinds[1:])])
