"""Tests which distributions of TFP work in `Family` without arguments, and why the others do not."""

import inspect
import json

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy import stats

import nllfit
from nllfit import Family, MixtureFamily, ZeroInflated, heads
from nllfit.families.configs import plain, restored
from nllfit.families.law import law_of

tfd = tfp.distributions

DISTRIBUTIONS = [
    name
    for name, found in sorted(vars(tfd).items())
    if inspect.isclass(found) and issubclass(found, tfd.Distribution) and found is not tfd.Distribution
]

# The reasons why `DistributionHead(name, 3)` is not a usable head. Each text except `NO_GRADIENT` is part of the error
# message. The families of `NO_GRADIENT` raise no error, but their loss has no gradient.
NOT_DESCRIBED = "does not describe its parameters"
NO_LINK = "has no default link for its parameter"
NO_SHAPE = "does not follow from an outcome's shape"
NO_CLASSES = "needs `num_classes`"
NOT_BUILT = "cannot be built"
NOT_FREE = "there is nothing to learn"
NO_GRADIENT = "its log-density does not vary with its parameters"
REASONS = {
    NOT_DESCRIBED: (
        "AutoCompositeTensorDistribution Autoregressive JointDistribution JointDistributionCoroutine "
        "JointDistributionCoroutineAutoBatched JointDistributionNamed JointDistributionNamedAutoBatched "
        "JointDistributionSequential JointDistributionSequentialAutoBatched LinearGaussianStateSpaceModel PixelCNN "
        "PoissonLogNormalQuadratureCompound"
    ),
    NO_LINK: (
        "Bates BatchBroadcast BatchConcat BatchReshape BetaBinomial Binomial Blockwise DeterminantalPointProcess "
        "DirichletMultinomial FiniteDiscrete FlatDirichlet HiddenMarkovModel Independent Inflated "
        "LambertWDistribution MarkovChain Masked MatrixNormalLinearOperator MatrixTLinearOperator Mixture "
        "MixtureSameFamily Multinomial MultivariateNormalLinearOperator MultivariateStudentTLinearOperator "
        "PowerSpherical QuantizedDistribution Sample TransformedDistribution VariationalGaussianProcess VonMisesFisher "
        "WishartLinearOperator WishartTriL"
    ),
    NO_SHAPE: (
        "GaussianProcess GaussianProcessRegressionModel MultivariateNormalDiagPlusLowRankCovariance StudentTProcess "
        "StudentTProcessRegressionModel"
    ),
    NO_CLASSES: "Categorical OrderedLogistic StoppingRatioLogistic",
    NOT_BUILT: "CholeskyLKJ Empirical LKJ",
    NOT_FREE: "SphericalUniform",
    NO_GRADIENT: "Deterministic VectorDeterministic",
}
REFUSED = {name: reason for reason, names in REASONS.items() for name in names.split()}
WORKING = [name for name in DISTRIBUTIONS if name not in REFUSED]


def test_at_least_sixty_families_need_nothing_fixed():
    assert len(WORKING) >= 60
    assert set(REFUSED) <= set(DISTRIBUTIONS)


@pytest.mark.thorough(
    but=(
        "Dirichlet]",
        "LogNormal",
        "MultivariateNormalTriL",
        "NegativeBinomial",
        "Normal]",
        "OneHotCategorical",
        "Poisson]",
        "Triangular",
        "VonMises]",
        "Weibull",
    )
)
@pytest.mark.parametrize("name", WORKING)
@pytest.mark.filterwarnings("ignore")  # deprecation warnings inside TFP
def test_a_family_scores_its_own_samples(name):
    head = heads.DistributionHead(name, 3)
    params = 0.5 * tf.random.stateless_normal([5, head.family.params_size], (1, 2))
    with tf.GradientTape() as tape:
        tape.watch(params)
        distribution = head(params)
        with tape.stop_recording():
            outcomes = distribution.sample(seed=(3, 4))
        loss = nllfit.negative_log_likelihood(outcomes, distribution)
    gradient = tape.gradient(loss, params).numpy()
    assert loss.shape == [5]
    assert np.isfinite(loss).all()
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0
    prediction = law_of(distribution.tensor_distribution).central_value()
    assert prediction.shape == outcomes.shape
    assert np.isfinite(tf.cast(prediction, tf.float32)).all()


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore")  # deprecation warnings inside TFP
def test_families_that_need_arguments_say_which(name):
    if REFUSED[name] == NO_GRADIENT:
        params = tf.ones([5, 3])
        with tf.GradientTape() as tape:
            tape.watch(params)
            loss = nllfit.negative_log_likelihood(params, heads.DistributionHead(name, 3)(params))
        assert tape.gradient(loss, params) is None
    else:
        with pytest.raises(ValueError, match=REFUSED[name]):
            heads.DistributionHead(name, 3)


@pytest.mark.parametrize(
    ("name", "event_shape", "fixed", "outcome"),
    [
        ("Binomial", 2, {"total_count": 10}, [3.0, 10.0]),
        ("BetaBinomial", 2, {"total_count": 10}, [3.0, 10.0]),
        ("Multinomial", 3, {"total_count": 10}, [3.0, 2.0, 5.0]),
        ("DirichletMultinomial", 3, {"total_count": 10}, [3.0, 2.0, 5.0]),
        ("TruncatedNormal", 1, {"low": 0.0, "high": 1.0}, [0.5]),
        ("Uniform", 1, {"low": 0.0}, [0.5]),
        ("WishartTriL", (2, 2), {"df": 5}, [[2.0, 0.3], [0.3, 1.0]]),
        ("LKJ", (3, 3), {"dimension": 3}, np.eye(3, dtype="float32")),
        ("OrderedLogistic", (), {"num_classes": 4}, 3),
        ("StoppingRatioLogistic", (), {"num_classes": 4}, 0),
    ],
)
def test_fixed_arguments_complete_a_family(name, event_shape, fixed, outcome):
    family = Family(name, event_shape, **fixed)
    distribution = family.distribution(tf.zeros([5, family.params_size]))
    assert distribution.batch_shape == [5]
    assert distribution.event_shape == family.event_shape
    assert np.isfinite(distribution.log_prob(tf.stack([outcome] * 5))).all()


def test_unconstrained_is_the_inverse_of_parameters():
    for name in ("Normal", "Gamma", "MultivariateNormalTriL", "Triangular", "NormalInverseGaussian", "Dirichlet"):
        family = Family(name, 2)
        params = tf.random.stateless_normal([4, family.params_size], (5, 6), dtype=tf.float64)
        # The tolerance allows the rounding errors of softplus and its inverse.
        np.testing.assert_allclose(family.unconstrained(family.parameters(params)), params, rtol=1e-10, atol=1e-12)


def test_fixing_the_other_name_of_a_parameter_replaces_it():
    assert Family("Gamma", rate=2.0).parameter_names == ("concentration",)
    assert Family("NegativeBinomial", probs=0.3).parameter_names == ("total_count",)
    assert Family("Skellam", rate1=1.0).parameter_names == ("log_rate2",)


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("Normal", {"link": {"scale": "exp"}}, {"loc": 0.3, "scale": np.exp(-0.7)}),
        ("Normal", {"link": {"scale": "exp"}, "floor": {"scale": 0.1}}, {"loc": 0.3, "scale": 0.1 + np.exp(-0.7)}),
        ("Normal", {"link": {"scale": "softplus"}}, {"loc": 0.3, "scale": np.log1p(np.exp(-0.7))}),
        ("Normal", {"link": {"loc": "exp"}, "scale": 2.0}, {"loc": np.exp(0.3), "scale": 2.0}),
        ("Bernoulli", {"link": {"probs": "normal_cdf"}}, {"probs": stats.norm.cdf(0.3)}),  # probit
        ("Poisson", {"link": {"rate": "softplus"}}, {"rate": np.log1p(np.exp(0.3))}),
        (
            "Gamma",
            {"link": {"rate": "exp", "concentration": "exp"}},
            {"concentration": np.exp(0.3), "rate": np.exp(-0.7)},
        ),
    ],
)
def test_a_link_can_be_chosen(name, options, parameters):
    family = Family(name, **options)
    params = tf.constant([0.3, -0.7], tf.float64)[: family.params_size]
    distribution = family.distribution(params)
    for parameter, value in parameters.items():
        # The tolerance allows some rounding errors, and the 2e-16 that the softplus link adds.
        np.testing.assert_allclose(distribution.parameters[parameter], value, rtol=1e-14)
    # `unconstrained` is the inverse of `parameters`.
    np.testing.assert_allclose(family.unconstrained(family.parameters(params)), params, rtol=1e-12)
    assert family != Family(name, **{key: value for key, value in options.items() if key not in ("link", "floor")})


@pytest.mark.thorough(but="family1")
@pytest.mark.parametrize(
    ("family", "linked"),
    [
        (Family("Normal"), Family("Normal", link={"loc": "exp", "scale": "exp"})),
        (Family("Gamma"), Family("Gamma", link={"concentration": "exp", "rate": "softplus"})),
        pytest.param(
            MixtureFamily("Normal", 2, scale=5.0),
            MixtureFamily("Normal", 2, scale=5.0, link={"loc": "exp"}),
            marks=pytest.mark.thorough,
        ),
    ],
)
def test_a_link_changes_no_estimate(family, linked):
    y = np.random.default_rng(0).gamma(3.0, 5.0, 200)
    one, other = (nllfit.maximum_likelihood(either, y) for either in (family, linked))
    assert one.converged
    assert other.converged
    # The likelihood is flat near its maximum, so different errors of the two searches hardly change it.
    np.testing.assert_allclose(one.log_likelihood, other.log_likelihood, rtol=1e-10)


@pytest.mark.parametrize("dtype", [tf.float32, tf.float64])
@pytest.mark.parametrize("link", ["normal_cdf", "sigmoid", "gumbel_cdf", "gumbel_min_cdf"])
def test_a_probability_rounded_to_0_or_1_has_finite_losses_and_gradients(link, dtype):
    """With the normal CDF in float32, a probability rounds to 1 from u = 5.5 on."""
    family = Family("Bernoulli", link={"probs": link}, validate_args=False)
    params = tf.constant([[-200.0], [-10.0], [-5.0], [3.0], [6.0], [20.0], [200.0]], dtype)
    for y in (0, 1):
        with tf.GradientTape() as tape:
            tape.watch(params)
            log_prob = family.distribution(params).log_prob(y)
        assert np.isfinite(log_prob).all()
        assert np.isfinite(tape.gradient(log_prob, params)).all()


def test_a_mean_of_a_beta_is_below_1():
    head = heads.Beta(parameterization="mean")
    assert np.isfinite(head(tf.constant([[20.0, 0.0], [200.0, 0.0]])).log_prob([[0.5], [0.5]])).all()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Family("Normal", scale=np.float32(0.1)),
        lambda: Family("Normal", 2, scale=np.array([0.1, 0.2], np.float32)),
        lambda: Family("Normal", scale=1),
        lambda: ZeroInflated("Poisson", zero_probs=np.float32(0.2)),
    ],
)
def test_a_family_equals_its_copy_from_a_saved_file(make):
    """The copy must be equal, although a saved file stores numbers without their dtype."""
    family, copy = make(), restored(json.loads(json.dumps(plain(make()))))
    assert copy == family
    assert hash(copy) == hash(family)


def test_shared_parameters_are_left_out_of_params():
    family = Family("StudentT", 2, shared=("df", "scale"))
    assert (family.parameter_names, family.params_size, family.shared_size) == (("loc",), 2, 4)
    distribution = family.distribution(tf.zeros([7, 2]), tf.constant([1.0, 2.0, 3.0, 4.0]))
    np.testing.assert_allclose(distribution.distribution.df, np.log1p(np.exp([1, 2])), rtol=1e-6)  # rounding of float32
    np.testing.assert_allclose(distribution.distribution.scale, np.log1p(np.exp([3, 4])), rtol=1e-6)


def test_heads_support_vector_and_sequence_outcomes():
    family = Family("MultivariateNormalTriL", (4, 2))
    distribution = family.distribution(tf.zeros([3, 5, family.params_size]))
    assert (distribution.batch_shape, distribution.event_shape) == ([3, 5], [4, 2])


def test_a_mixture_of_one_component_equals_the_component():
    mixture, component = MixtureFamily("StudentT", 1, 2), Family("StudentT", 2)
    params = tf.random.stateless_normal([6, mixture.params_size], (1, 1), dtype=tf.float64)
    outcomes = tf.ones([6, 2], tf.float64)
    # The tolerance allows the rounding errors of a logsumexp of one term.
    np.testing.assert_allclose(
        mixture.distribution(params).log_prob(outcomes), component.distribution(params[:, 1:]).log_prob(outcomes), 1e-14
    )


def test_a_mixture_names_its_weights_apart_from_its_components_logits():
    mixture = MixtureFamily("Bernoulli", 2, 3)
    shapes = {name: value.shape for name, value in mixture.parameters(tf.zeros([mixture.params_size])).items()}
    assert shapes == {"mixture_logits": [2], "logits": [2, 3]}


def test_every_parameter_can_be_held():
    family, params = MixtureFamily("Normal", 2), tf.constant([[0.3, -0.2, 1.0, 0.1, 2.0, 0.4]], tf.float64)
    values = family.parameters(params)
    for name in family.parameter_names:
        held = family.holding({name: values[name]})
        assert name not in held.parameter_names
        assert held != family
        rest = {other: value for other, value in values.items() if other != name}
        vector = held.unconstrained(rest)
        assert held.params_size == vector.shape[-1] == 4
        np.testing.assert_array_equal(
            held.distribution(vector).log_prob([0.5]), family.distribution(params).log_prob([0.5])
        )


def test_a_mixture_without_means_averages_the_medians_of_its_components():
    distribution = tfd.MixtureSameFamily(tfd.Categorical(probs=[0.25, 0.75]), tfd.StudentT(1.0, [4.0, 8.0], 1.0))
    assert law_of(distribution).central_value() == 7.0


def test_half_student_t_without_a_mean_predicts_its_median():
    center = law_of(tfd.HalfStudentT(0.5, 1.0, 2.0)).central_value()
    # TFP computes the quantile in float32, by the inverse of `betainc`.
    np.testing.assert_allclose(center, 1 + 2 * stats.t(0.5).ppf(0.75), rtol=2e-6)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("Nrmal",), {}, "`distribution` is 'Nrmal'"),
        ((tfd.Normal(0.0, 1.0),), {}, "give a class of tfp.distributions"),
        (("Normal",), {"scal": 1}, "Normal has no parameter `scal`. It has .*loc, scale"),
        (("Normal",), {"shared": "sacle"}, "Normal has no parameter `sacle`"),
        (("Normal",), {"shared": 3}, "`shared` is 3: give names of parameters, such as"),
        (("Normal",), {"shared": None}, "`shared` is None: give names of parameters, such as"),
        (("Gamma",), {"shared": "rate"}, "`shared` names `rate`, but the free parameters of Gamma are concentration"),
        (("Normal",), {"scale": -1.0}, "Normal cannot be built with scale=-1.0: Argument `scale` must be positive"),
        (("Normal",), {"scale": "a"}, "Normal cannot be built with scale='a': "),
        (("Normal", 1), {"scale": [1.0, 2.0]}, r"outcomes of shape \(2,\), but `event_shape` is \(1,\)"),
        (("Normal", 1), {"scale": [[1.0], [2.0]]}, r"outcomes of shape \(2, 1\), but `event_shape` is \(1,\)"),
        (("Binomial", 1), {"total_count": [[1.0], [2.0]]}, "the same for every row"),
        ((type("Normal", (tfd.Normal,), {}),), {}, "give a class of tfp.distributions or its name"),
        (("MultivariateNormalTriL", ()), {}, "does not follow from an outcome's shape"),
        (("FiniteDiscrete", 1), {"outcomes": [1.0, 2.0]}, "does not follow from an outcome's shape"),
        (("Normal",), {"floor": 1e-3}, "give a dict such as"),
        (("Normal",), {"floor": {"scale": "a"}}, "The floor of `scale` is 'a'"),
        (("Normal",), {"floor": {"scale": np.inf}}, "The floor of `scale` is inf"),
        (("Uniform",), {"low": 3.0, "high": 1.0}, "Every parameter of Uniform is fixed"),
        (("Binomial",), {"total_count": -2}, "`total_count` must be non-negative"),
        (("Normal",), {"num_classes": 3}, "Normal takes no `num_classes`"),
        (("Categorical",), {}, "Categorical needs `num_classes`"),
        (("Normal",), {"floor": {"loc": 1.0}}, "only a parameter whose link is softplus or exp has a floor"),
        (
            ("Normal",),
            {"floor": {"scale": 1.0}, "link": {"scale": "sigmoid"}},
            "whose link is softplus or exp has a floor",
        ),
        (("Normal",), {"link": {"scale": "log"}}, "`scale` 'log': give one of exp, identity, normal_cdf, sigmoid, sof"),
        (("Normal",), {"link": {"scale": ["exp"]}}, r"`scale` \['exp'\]: give one of exp, identity"),
        (("Normal",), {"link": "exp"}, "`link` is 'exp': give a dict such as {'scale': 'exp'}"),
        (("Normal",), {"link": {"scal": "exp"}}, "Normal has no parameter `scal`"),
        (("Normal",), {"link": {"scale": "exp"}, "scale": 1.0}, "`link` names `scale`, but the free parameters"),
        (("Normal",), {"link": {"scale": "identity"}}, "Normal cannot be built .*`scale` must be positive"),
        (("Bernoulli",), {"link": {"probs": "exp"}}, "Bernoulli cannot be built .*greater than 1"),
        (("MultivariateNormalTriL", 2), {"link": {"scale_tril": "exp"}}, "`scale_tril`, whose elements depend on"),
        (("Categorical",), {"link": {"probs": "sigmoid"}, "num_classes": 3}, "`probs`, whose elements depend on"),
        (("Normal",), {"floor": {"scale": -1.0}}, "The floor of `scale` is -1.0"),
    ],
)
def test_invalid_arguments_raise_at_construction(arguments, options, message):
    with pytest.raises(ValueError, match=message):
        Family(*arguments, **options)


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        (
            Family("Normal", 2),
            (tf.zeros([1, 4], tf.int32),),
            r"`params` is int32 of shape \(1, 4\), but Family\(Normal, \(2,\)\)",
        ),
        (Family("Normal", 2), (3.0,), r"`params` is float32 of shape \(\)"),
        (Family("Normal", 2), (np.zeros(3),), "takes 4 floating-point numbers .*: 2 for `loc` [+] 2 for `scale`"),
        (MixtureFamily("Normal", 2), (np.zeros(3),), "takes 6 .*: 2 logits and 2 for each component"),
        (Family("Normal", shared="scale"), (np.zeros([3, 1]),), "`shared` is None: give the 1 numbers of scale"),
    ],
)
def test_wrong_params_are_refused(family, arguments, message):
    for method in (family.distribution, family.parameters):
        with pytest.raises(ValueError, match=message):
            method(*arguments)


@pytest.mark.parametrize("scale", [tf.constant(2.0), tf.constant(2.0, tf.float64), tf.constant(2)])
def test_a_fixed_tensor_may_have_another_dtype(scale):
    for dtype in (tf.float32, tf.float64):
        spread = Family("Normal", scale=scale).distribution(tf.zeros([3, 1], dtype)).stddev()
        np.testing.assert_array_equal(spread, [2.0, 2.0, 2.0])


def test_fixed_values_may_be_tensors_and_keep_their_digits():
    scale = tf.constant([0.37, 1.5], tf.float64)
    log_prob = Family("Normal", 2, scale=scale).distribution(tf.zeros([1, 2], tf.float64)).log_prob([[0.1, 0.2]])
    np.testing.assert_allclose(log_prob[0], stats.norm(0, [0.37, 1.5]).logpdf([0.1, 0.2]).sum(), rtol=1e-15)


def test_invalid_mixtures_are_refused():
    with pytest.raises(ValueError, match="`num_components` is 0"):
        MixtureFamily("Normal", 0)
    with pytest.raises(ValueError, match="share no parameters"):
        MixtureFamily("Normal", 2, shared=("scale",))


@pytest.mark.parametrize(
    "make",
    [
        lambda held, floor, link: Family("Normal", 2, scale=held, link=link),
        lambda held, floor, link: Family("Normal", 2, floor=floor, loc=held),
        lambda held, floor, link: ZeroInflated(Family("Normal", 2, floor=floor), zero_probs=held),
    ],
)
def test_a_change_of_an_argument_does_not_change_the_family(make):
    held, floor, link = np.array([0.2, 0.7]), {"scale": 0.1}, {"loc": "exp"}
    family, same = make(held, floor, link), make(held.copy(), dict(floor), dict(link))
    before = hash(family)
    held[:], floor["scale"], link["loc"] = 0.5, 9.0, "identity"
    assert family == same
    assert hash(family) == before


def test_a_change_of_a_held_list_does_not_change_the_family():
    held = [1.0, 2.0]
    family = Family("Normal", 2, scale=held)
    held[0] = 5.0
    assert family == Family("Normal", 2, scale=[1.0, 2.0])
