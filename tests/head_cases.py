"""A reference for each named head, computed only with NumPy and SciPy.

To add a family:

1. Write its class in `nllfit/families/named_heads.py`, or in `compound_heads.py` if it wraps another family.
2. Add its name to `__all__` of that module, and the class to `HEADS` in `nllfit/families/head_classes.py`.
3. Add its row to `CASES` in this file.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
from scipy import special, stats


@dataclasses.dataclass(frozen=True)
class Case:
    """The reference for a head `name` built with `args` and `kwargs`.

    Attributes:
      name: the head's name in `nllfit.heads`.
      outcomes: ordinary, boundary and extreme outcomes, `[n, *event]`.
      log_prob: `(u, y, eps) -> [n]`, the log-likelihood. `u` `[n, params_size]` is the input of the head, and `eps` the
        resolution of its dtype.
      invalid: an outcome outside the support. NumPy can assign it to a row: `outcomes[row] = invalid`. None if all
        numbers are in the support.
      prediction: the shape of one row of the head's prediction.
    """

    name: str
    args: tuple
    outcomes: np.ndarray
    log_prob: Callable
    invalid: object
    prediction: tuple
    kwargs: dict = dataclasses.field(default_factory=dict)

    @property
    def id(self):
        return "-".join([self.name, *(f"{name}={value}" for name, value in self.kwargs.items())])


def softplus(u):
    return np.logaddexp(0, u)


def _column(*values):
    return np.array(values, np.float64)[:, None]


def _blocks(u, count):
    return np.split(u, count, axis=-1)


def _elementwise(count, log_density):
    """A log-likelihood `(u, y, eps)`: a scalar log-density with `count` parameters, summed over the event."""
    return lambda u, y, eps: log_density(y, eps, *_blocks(u, count)).sum(-1)


def _log_laplace(y, loc, scale):  # SciPy's `laplace.logpdf` underflows
    return -np.abs(y - loc) / scale - np.log(2 * scale)


def _multivariate_normal(u, y, eps):
    loc, rest = u[:, :2], u[:, 2:]
    tril = np.zeros([len(u), 2, 2])
    # TFP's FillTriangular puts the columns 0, 1 and 2 of `rest` at these places of the matrix: [[2, -], [1, 0]].
    tril[:, 0, 0], tril[:, 1, 0], tril[:, 1, 1] = softplus(rest[:, 2]) + eps, rest[:, 1], softplus(rest[:, 0]) + eps
    return np.array([stats.multivariate_normal(m, s @ s.T).logpdf(v) for m, s, v in zip(loc, tril, y, strict=True)])


def _mixture(u, y, eps):
    logits, components = u[:, :3], u[:, 3:].reshape(-1, 3, 2, 2)  # three components of [loc, scale] for two elements
    log_prob = stats.norm(components[:, :, 0], softplus(components[:, :, 1]) + eps).logpdf(y[:, None]).sum(-1)
    return special.logsumexp(special.log_softmax(logits, -1) + log_prob, -1)


def _censored(u, y, eps):
    lower, upper, known = *y.T, stats.norm(u[:, 0], softplus(u[:, 1]) + eps)
    between = np.where(lower > u[:, 0], known.sf(lower) - known.sf(upper), known.cdf(upper) - known.cdf(lower))
    return np.where(lower == upper, known.logpdf(lower), np.log(np.where(lower == upper, 1.0, between)))


def _hurdle(u, y, eps):
    zero, loc, scale = u[:, :1], u[:, 1:2], softplus(u[:, 2:]) + eps
    amount = stats.lognorm(scale, scale=np.exp(loc)).logpdf(np.where(y == 0, 1.0, y)) - softplus(zero)
    return np.where(y == 0, -softplus(-zero), amount).sum(-1)


def _zero_inflated_poisson(y, eps, zero, u):
    own = stats.poisson(np.exp(u)).logpmf(y) - softplus(zero)
    return np.where(y == 0, np.logaddexp(-softplus(-zero), own), own)


def _shared_share(u, y, eps):
    count, logits = softplus(u[:, :1]) + eps, u[:, 1:]
    own = stats.nbinom(count, special.expit(-logits)).logpmf(y) - np.log(2)  # the shared logit starts at 0
    return np.where(y == 0, np.logaddexp(-np.log(2), own), own).sum(-1)


CASES = (
    Case(
        "Bernoulli",
        (),
        _column(0, 1, 1, 0),
        _elementwise(1, lambda y, eps, u: y * u - softplus(u)),
        invalid=2.0,
        prediction=(1,),
    ),
    Case(
        "Beta",
        (),
        _column(1e-4, 0.3, 0.5, 0.999),
        _elementwise(2, lambda y, eps, u, v: stats.beta(softplus(u) + eps, softplus(v) + eps).logpdf(y)),
        invalid=1.5,
        prediction=(1,),
    ),
    Case(
        "Categorical",
        (3,),
        np.array([0, 2, 1, 2]),
        lambda u, y, eps: np.take_along_axis(special.log_softmax(u, -1), y[:, None].astype(int), -1)[:, 0],
        invalid=3,
        prediction=(3,),
    ),
    Case(
        "Censored",
        ("Normal",),
        np.array([[0.3, 0.3], [1.0, np.inf], [-np.inf, 0.2], [-1.0, 2.0]]),
        _censored,
        invalid=[2.0, 1.0],
        prediction=(),
    ),
    Case(
        "Gamma",
        (),
        _column(1e-6, 0.4, 3, 200),
        _elementwise(2, lambda y, eps, u, v: stats.gamma(softplus(u) + eps, scale=np.exp(-v)).logpdf(y)),
        invalid=-1.0,
        prediction=(1,),
    ),
    Case(
        "Hurdle",
        ("LogNormal",),
        _column(0, 0.4, 3, 0),
        _hurdle,
        invalid=-1.0,
        prediction=(1,),
    ),
    Case(
        "Laplace",
        (),
        _column(-1e4, 0, 0.3, 50),
        _elementwise(2, lambda y, eps, u, v: _log_laplace(y, u, softplus(v) + eps)),
        invalid=None,
        prediction=(1,),
    ),
    Case(
        "LogNormal",
        (),
        _column(1e-6, 0.4, 3, 1e4),
        _elementwise(2, lambda y, eps, u, v: stats.lognorm(softplus(v) + eps, scale=np.exp(u)).logpdf(y)),
        invalid=-1.0,
        prediction=(1,),
    ),
    Case(
        "Mixture",
        ("Normal", 3, 2),
        np.array([[0.1, -0.3], [2, 1], [-40, 3], [0, 0]]),
        _mixture,
        invalid=None,
        prediction=(2,),
    ),
    Case(
        "MultivariateNormalTriL",
        (2,),
        np.array([[0.1, -0.3], [2, 1], [-40, 3], [0, 0]]),
        _multivariate_normal,
        invalid=None,
        prediction=(2,),
    ),
    Case(
        "NegativeBinomial",
        (),
        _column(0, 1, 7, 300),
        _elementwise(2, lambda y, eps, u, v: stats.nbinom(softplus(u) + eps, special.expit(-v)).logpmf(y)),
        invalid=-1.0,
        prediction=(1,),
    ),
    Case(
        "Normal",
        (),
        _column(-1e4, 0, 0.3, 50),
        _elementwise(2, lambda y, eps, u, v: stats.norm(u, softplus(v) + eps).logpdf(y)),
        invalid=None,
        prediction=(1,),
    ),
    Case(
        "Normal",
        ((2, 2),),
        np.arange(16.0).reshape(4, 2, 2),
        lambda u, y, eps: stats.norm(u.reshape(y.shape), 2.5).logpdf(y).sum((1, 2)),
        invalid=None,
        prediction=(2, 2),
        kwargs={"scale": 2.5},
    ),
    Case(
        "Normal",
        (),
        _column(-3, 0, 0.3, 5),
        _elementwise(1, lambda y, eps, u: stats.norm(u, softplus(0) + eps).logpdf(y)),  # the shared weight starts at 0
        invalid=None,
        prediction=(1,),
        kwargs={"shared": ("scale",)},
    ),
    Case(
        "Normal",
        (),
        _column(-3, 0, 0.3, 5),
        _elementwise(2, lambda y, eps, u, v: stats.norm(u, softplus(v) + 0.5).logpdf(y)),
        invalid=None,
        prediction=(1,),
        kwargs={"floor": {"scale": 0.5}},
    ),
    Case(
        "Normal",
        (),
        _column(-3, 0, 0.3, 5),
        _elementwise(2, lambda y, eps, u, v: stats.norm(u, np.exp(v) + 0.5).logpdf(y)),
        invalid=None,
        prediction=(1,),
        kwargs={"floor": {"scale": 0.5}, "link": {"scale": "exp"}},
    ),
    Case(
        "OneHotCategorical",
        (3,),
        np.eye(3)[[0, 2, 1, 2]],
        lambda u, y, eps: (y * special.log_softmax(u, -1)).sum(-1),
        invalid=[1.0, 1.0, 0.0],
        prediction=(3,),
    ),
    Case(
        "Poisson",
        (2,),
        np.array([[0, 3], [1, 1], [7, 0], [40, 200]], np.float64),
        _elementwise(1, lambda y, eps, u: stats.poisson(np.exp(u)).logpmf(y)),
        invalid=[1.5, 0.0],
        prediction=(2,),
    ),
    Case(
        "StudentT",
        (),
        _column(-1e4, 0, 0.3, 50),
        _elementwise(3, lambda y, eps, u, v, w: stats.t(softplus(u) + eps, v, softplus(w) + eps).logpdf(y)),
        invalid=None,
        prediction=(1,),
    ),
    Case(
        "Truncated",
        ("Poisson",),
        _column(1, 2, 7, 40),
        _elementwise(1, lambda y, eps, u: stats.poisson(np.exp(u)).logpmf(y) - stats.poisson(np.exp(u)).logsf(0)),
        invalid=0.0,
        prediction=(1,),
        kwargs={"low": 0.0},
    ),
    Case(
        "ZeroInflated",
        ("Poisson",),
        _column(0, 1, 7, 0),
        _elementwise(2, _zero_inflated_poisson),
        invalid=-1.0,
        prediction=(1,),
    ),
    Case(
        "ZeroInflated",
        ("NegativeBinomial",),
        _column(0, 1, 7, 0),
        _shared_share,
        invalid=-1.0,
        prediction=(1,),
        kwargs={"shared": ("zero_logits",)},
    ),
)
