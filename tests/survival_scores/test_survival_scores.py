"""Scores of censored times, compared with reference values of lifelines 0.30.3 and scikit-survival 0.28.0.

The reference values are those of `concordance_index`, `concordance_index_ipcw`, `brier_score`,
`integrated_brier_score`, `cumulative_dynamic_auc`, `KaplanMeierFitter` and `AalenJohansenFitter` on the columns below.
These columns are made from statsmodels' data set `heart`.
"""

import numpy as np
import pandas as pd
import pytest
import statsmodels.api as sm
from scipy import integrate

import nllfit
from nllfit import survival_scores

K = np.arange(69)
HEART = sm.datasets.heart.load_pandas().data
TIME, EVENT = np.ceil(HEART.survival.to_numpy() / 50), HEART.censors.to_numpy()
RISK = HEART.age.to_numpy() + 5 * np.sin(K)
TIMES = np.array([1.5, 3.0, 5.0, 8.0, 12.0])
SURVIVAL = np.exp(-np.outer(np.exp(0.05 * (RISK - 45)), 0.04 * TIMES))
HALF = K % 2 == 0
TRAIN, HELD_OUT = (TIME[HALF], EVENT[HALF]), (TIME[~HALF], EVENT[~HALF])
DIGITS = {"rtol": 1e-11}


def test_concordance_matches_lifelines_and_scikit_survival():
    np.testing.assert_allclose(survival_scores.concordance(TIME, EVENT, RISK), 0.6411024565608149, **DIGITS)
    uno = survival_scores.concordance(TIME, EVENT, RISK, method="uno")
    np.testing.assert_allclose(uno, 0.6492638800814485, **DIGITS)
    early = survival_scores.concordance(TIME, EVENT, RISK, method="uno", tau=12.0)
    np.testing.assert_allclose(early, 0.6285628280918861, **DIGITS)
    of_train = survival_scores.concordance(*HELD_OUT, RISK[~HALF], method="uno", tau=8.0, train=TRAIN)
    np.testing.assert_allclose(of_train, 0.635464685560669, **DIGITS)


def test_concordance_counts_equal_risks_half():
    pairs = [
        (i, j)
        for i in range(69)
        for j in range(69)
        if EVENT[i] and (TIME[j] > TIME[i] or (TIME[j] == TIME[i] and not EVENT[j]))
    ]
    risk = np.round(RISK, -1)
    better = [(risk[i] > risk[j]) + (risk[i] == risk[j]) / 2 for i, j in pairs]
    np.testing.assert_allclose(survival_scores.concordance(TIME, EVENT, risk), np.mean(better), rtol=1e-14)
    assert survival_scores.concordance(TIME, EVENT, np.zeros(69)) == 0.5


def test_auc_matches_scikit_survival():
    expected = [0.5894357743097239, 0.6869052256664255, 0.6321772985923929, 0.6433672859368622, 0.7092500779885553]
    np.testing.assert_allclose(survival_scores.auc(TIME, EVENT, RISK, TIMES), expected, **DIGITS)
    held_out = survival_scores.auc(*HELD_OUT, RISK[~HALF], TIMES[:3], train=TRAIN)
    np.testing.assert_allclose(held_out, [0.609375, 0.7623269896193772, 0.6536117163582205], **DIGITS)


def test_brier_scores_match_scikit_survival():
    expected = [0.22622396524514407, 0.35373090387800776, 0.3277127282995932, 0.3038789312583409, 0.253652467751162]
    np.testing.assert_allclose(survival_scores.brier_score(TIME, EVENT, SURVIVAL, TIMES), expected, **DIGITS)
    integrated = survival_scores.integrated_brier_score(TIME, EVENT, SURVIVAL, TIMES)
    np.testing.assert_allclose(integrated, 0.30274857822627355, **DIGITS)
    held_out = survival_scores.brier_score(*HELD_OUT, SURVIVAL[~HALF, :3], TIMES[:3], train=TRAIN)
    np.testing.assert_allclose(held_out, [0.20850110638198524, 0.3505190380540042, 0.3438230317445112], **DIGITS)


def test_curves_match_lifelines():
    np.testing.assert_allclose(
        survival_scores.kaplan_meier(TIME, EVENT)([2.0, 8.0]), [0.5844424726412304, 0.4386569845329435], **DIGITS
    )
    time, cause = HEART.survival + K * 1e-3, np.where(EVENT == 1, 1 + K % 2, 0)
    expected = {1: [0.19528196667684097, 0.22654764404732516], 2: [0.22630300196920103, 0.3409657400421455]}
    for of, values in expected.items():
        np.testing.assert_allclose(
            survival_scores.cumulative_incidence(time, cause, of)([100.0, 500.0]), values, **DIGITS
        )
    total = sum(survival_scores.cumulative_incidence(time, cause, of)([500.0]) for of in (1, 2))
    np.testing.assert_allclose(total, 1 - survival_scores.kaplan_meier(time, EVENT)([500.0]), rtol=1e-12)


def test_calibration_at_a_time_without_censoring_is_binomial():
    """Without censoring, the observed survival is a proportion.

    Greenwood's standard error is then the binomial standard error of this proportion.
    """
    time = np.random.default_rng(0).exponential(size=200)
    predicted = np.repeat([0.2, 0.8], 100)
    found = survival_scores.calibration_at(time, np.ones(200), predicted, 1.0, num_groups=2)
    shares = np.array([np.mean(time[:100] > 1), np.mean(time[100:] > 1)])
    np.testing.assert_allclose(found.predicted, [0.2, 0.8])
    np.testing.assert_allclose(found.observed, shares, rtol=1e-12)
    np.testing.assert_allclose(found.standard_errors, np.sqrt(shares * (1 - shares) / 100), rtol=1e-9)
    assert found.num_rows.tolist() == [100, 100]
    assert found.num_rows.dtype.kind == "i"


def test_calibration_is_unknown_after_the_last_censored_time_of_a_group():
    """In the first group the last row is censored at 3; in the second, the last row has its event at 4."""
    time, event = [1.0, 2.0, 3.0, 2.0, 3.0, 4.0, 9.0, 9.0, 9.0], [1, 0, 0, 1, 1, 1, 1, 0, 0]
    found = survival_scores.calibration_at(time, event, np.repeat([0.5, 0.6, 0.9], 3), 5.0, num_groups=3)
    np.testing.assert_allclose(found.observed, [np.nan, 0.0, 1.0])
    np.testing.assert_allclose(found.standard_errors, [np.nan, 0.0, 0.0])


def test_a_cox_model_can_be_scored():
    """The predictions of a fitted Cox model can be scored; the concordance matches lifelines."""
    data = HEART.assign(t=TIME, z=np.sin(K))
    fit = nllfit.cox_regression("Surv(t, censors) ~ age + z", data)
    np.testing.assert_allclose(
        survival_scores.concordance(TIME, EVENT, fit.predict(data)), 0.6423007789095266, **DIGITS
    )
    scores = survival_scores.brier_score(TIME, EVENT, fit.survival(data, TIMES), TIMES)
    assert (scores < survival_scores.brier_score(TIME, EVENT, SURVIVAL, TIMES)).all()


def test_concordance_before_a_time_matches_a_loop_over_pairs():
    """With `tau=3.0`, only pairs whose earlier time is below 3 count."""
    pairs = [
        1.0 if RISK[i] > RISK[j] else 0.5 if RISK[i] == RISK[j] else 0.0
        for i in range(len(TIME))
        for j in range(len(TIME))
        if EVENT[i] and TIME[i] < 3 and (TIME[j] > TIME[i] or (TIME[j] == TIME[i] and not EVENT[j]))
    ]
    found = survival_scores.concordance(TIME, EVENT, RISK, tau=3.0)
    np.testing.assert_allclose(found, np.mean(pairs), rtol=1e-12)
    assert found != survival_scores.concordance(TIME, EVENT, RISK)


def test_causes_may_be_text_and_censoring_the_number_0():
    """The row at time 1 is censored, so the event at time 2 happens to one of two rows."""
    for cause in ([0, "a", "b"], np.array([0, "a", "b"], object)):
        np.testing.assert_allclose(survival_scores.cumulative_incidence([1.0, 2.0, 3.0], cause, "a")([3.0]), 0.5)


def test_delayed_entry_matches_statsmodels():
    entry = TIME * (K % 3) / 4
    expected = sm.SurvfuncRight(TIME, EVENT, entry=entry)
    found = survival_scores.kaplan_meier(TIME, EVENT, entry=entry)
    np.testing.assert_allclose(found(expected.surv_times), expected.surv_prob, rtol=1e-12)


def test_events_that_a_score_leaves_out_need_no_weight():
    """Scores up to the last training time, 8, do not depend on the events at time 8 or later.

    The expected scores are computed from data in which these events are censored.
    """
    train, late = (np.append(TIME[TIME < 8], 8), np.append(EVENT[TIME < 8], 0)), TIME >= 8
    known = np.where(late, 0, EVENT)
    assert EVENT[late].any()

    def scores(event):
        uno = survival_scores.concordance(TIME, event, RISK, method="uno", tau=8.0, train=train)
        area = survival_scores.auc(TIME, event, RISK, TIMES[:3], train)
        return [uno, *area, *survival_scores.brier_score(TIME, event, SURVIVAL[:, :3], TIMES[:3], train)]

    np.testing.assert_allclose(scores(EVENT), scores(known), rtol=1e-14)
    share = survival_scores.kaplan_meier(*train, censoring=True)
    weights = np.where((EVENT == 1) & ~late, 1 / np.maximum(share(TIME), 1e-9) ** 2, 0)
    at, risk = TIME[:, None], RISK[:, None]
    later = (at < TIME) | ((at == TIME) & (EVENT == 0))
    better = (risk > RISK) + (risk == RISK) / 2
    pairs = weights[:, None] * later
    np.testing.assert_allclose(scores(EVENT)[0], np.sum(pairs * better) / np.sum(pairs), rtol=1e-12)


def test_integrated_brier_score_needs_no_name_of_numpy_2(monkeypatch):
    """NumPy 1.26, which TensorFlow 2.19 allows, has no `trapezoid`. The reference uses the `trapezoid` of SciPy."""
    monkeypatch.delattr(np, "trapezoid", raising=False)
    scores = survival_scores.brier_score(TIME, EVENT, SURVIVAL, TIMES)
    found = survival_scores.integrated_brier_score(TIME, EVENT, SURVIVAL, TIMES)
    np.testing.assert_allclose(found, integrate.trapezoid(scores, TIMES) / np.ptp(TIMES), rtol=1e-14)


def test_a_curve_is_nan_at_nan():
    np.testing.assert_array_equal(survival_scores.kaplan_meier([1.0], [1])([np.nan, 0.5, 2.0]), [np.nan, 1.0, 0.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: survival_scores.concordance(TIME, EVENT, RISK[:5]),
            r"`risk` has shape \(5,\), but \(69,\) is expected",
        ),
        (lambda: survival_scores.concordance(TIME, EVENT + 1, RISK), "`event` holds .* give 1 for an event"),
        (
            lambda: survival_scores.concordance(TIME, EVENT, RISK, method="c"),
            '`method` is \'c\': give "harrell" or "uno"',
        ),
        (lambda: survival_scores.concordance([1.0, 2.0], [0, 0], [1.0, 2.0]), "No pair of rows is comparable"),
        (lambda: survival_scores.concordance([np.nan], [1], [1.0]), "`time` is nan in row 0: give finite numbers"),
        (lambda: survival_scores.concordance([], [], []), "`time` has shape .* at least one number"),
        (lambda: survival_scores.concordance(["a"], [1], [1.0]), "`time` has values that are not numbers"),
        (lambda: survival_scores.concordance([1.0], [1], ["a"]), "`risk` has values that are not numbers"),
        (lambda: survival_scores.auc(TIME, EVENT, RISK, ["a"]), "`times` has values that are not numbers"),
        (lambda: survival_scores.auc(TIME, EVENT, RISK, [0.5]), "`times` has 0.5, by which no row has an event"),
        (lambda: survival_scores.brier_score(TIME, EVENT, SURVIVAL, TIMES[:2]), r"`survival` has shape \(69, 5\)"),
        (lambda: survival_scores.brier_score(TIME, EVENT, SURVIVAL[:, :1], [99.0]), "by which all rows are censored"),
        (
            lambda: survival_scores.integrated_brier_score(TIME, EVENT, SURVIVAL[:, :1], [2.0]),
            "not a list of at least two ascending times",
        ),
        (
            lambda: survival_scores.brier_score(TIME, EVENT, 7 + SURVIVAL, TIMES),
            "`survival` has .*: give prob",
        ),
        (lambda: survival_scores.brier_score(TIME, EVENT, np.nan * SURVIVAL, TIMES), "`survival` is NaN in row 0"),
        (lambda: survival_scores.brier_score([1.0], [1], [["a"]], [1.0]), "`survival` has values that are not numbers"),
        (lambda: survival_scores.auc([1.0, 2.0], [1, 1], ["a", "b"], [1.0]), "`risk` has values that are not numbers"),
        (lambda: survival_scores.calibration_at(TIME, EVENT, 7 + SURVIVAL[:, 0], 1.0), "`survival` has .*: give prob"),
        (
            lambda: survival_scores.calibration_at(TIME, EVENT, SURVIVAL[:, 0], 1e6),
            r"`t` is 1e\+06, but the last time is .*: give an earlier one",
        ),
        (lambda: survival_scores.cumulative_incidence(TIME, EVENT, 2), "`of` is 2, which no row has"),
        (
            lambda: survival_scores.cumulative_incidence([1.0, 2.0, 3.0], [0, "a", 1], "b"),
            r"`of` is 'b', .*: give one of \[1, 'a'\]",
        ),
        (
            lambda: survival_scores.cumulative_incidence([1.0, 2.0], np.array([0, "a"]), "a"),
            "`cause` holds '0': give the number 0 for a censored row",
        ),
        (
            lambda: survival_scores.cumulative_incidence([1.0, 2.0], [np.nan, 1], 1),
            "`cause` holds nan: give the number",
        ),
        (lambda: survival_scores.cumulative_incidence([1.0, 2.0], [None, "a"], "a"), "`cause` holds None: give the"),
        (lambda: survival_scores.cumulative_incidence([1.0, 2.0], [pd.NA, "a"], "a"), "`cause` holds <NA>: give the"),
        (lambda: survival_scores.cumulative_incidence([1.0, 2.0], [1], 1), r"`cause` has shape \(1,\)"),
        (lambda: survival_scores.kaplan_meier([1.0, 2.0], [1, pd.NA]), "`event` holds <NA>: give 1 for an event"),
        (lambda: survival_scores.kaplan_meier([1.0, 2.0], [1, None]), "`event` holds None: give 1 for an event"),
        (
            lambda: survival_scores.kaplan_meier(pd.to_timedelta([1, 2], "D"), [1, 1]),
            "`time` holds dates or durations: give numbers, such as the number of days",
        ),
        (
            lambda: survival_scores.kaplan_meier(np.ma.array([1.0, 2.0], mask=[0, 1]), [1, 1]),
            "`time` has 1 masked values: leave their rows out",
        ),
        (
            lambda: survival_scores.kaplan_meier([1.0, 2.0], np.ma.array([1, 0], mask=[0, 1])),
            "`event` has 1 masked values: leave their rows out",
        ),
        (
            lambda: survival_scores.kaplan_meier([1.0, 2.0, 3.0], [1, 1, 1], entry=[0.0, 2.5, 0.0]),
            "`entry` is 2.5 in row 1, and `time` is 2: give rows with `entry < time`",
        ),
        (
            lambda: survival_scores.kaplan_meier([1.0, 2.0], [1, 1], entry=[0.0, 2.0]),
            "`entry` is 2 in row 1, and `time` is 2: give rows with `entry < time`",
        ),
        (
            lambda: survival_scores.kaplan_meier([1.0, 2.0], [1, 1], entry=[0.0, np.nan]),
            "`entry` is NaN in row 1: give numbers",
        ),
        (
            lambda: survival_scores.kaplan_meier([1.0, 2.0], [1, 1], [1.5]),
            r"`censoring` is \[1.5\]: give True or False",
        ),
        (
            lambda: survival_scores.auc([1.0, 2.0], [1, 0], np.ma.array([0.5, 0.2], mask=[0, 1]), [1.5]),
            "`risk` has 1 masked values: leave their rows out",
        ),
        (
            lambda: survival_scores.cumulative_incidence([1.0, 2.0], np.ma.array([1, 2], mask=[0, 1]), 1),
            "`cause` has 1 masked values: leave their rows out",
        ),
        (lambda: survival_scores.concordance([1.0, 2.0], [1, 1], [np.nan, 0]), "`risk` is NaN in row 0: give numbers"),
        (
            lambda: survival_scores.auc([1.0, 2.0, 3.0], [1, 1, 0], [np.nan, 0.5, 0.2], [1.5]),
            "`risk` is NaN in row 0: give numbers",
        ),
        (
            lambda: survival_scores.auc([1.0, 2.0, 3.0], [1, 1, 0], [[0.1], [0.5], [np.nan]], [1.5]),
            "`risk` is NaN in row 2: give numbers",
        ),
        (
            lambda: survival_scores.concordance(
                [1.0, 2.0, 9.0], [1, 0, 1], [0.9, 0.5, 0.1], method="uno", train=([1.0, 2.0, 5.0], [1, 0, 0])
            ),
            "The event at 9 has no weight, because all rows of `train` are censored by then",
        ),
        (lambda: survival_scores.calibration_at(TIME, EVENT, RISK, 1.0, 99), "`num_groups` is 99"),
        (lambda: survival_scores.calibration_at(TIME, EVENT, SURVIVAL[:, 0], 1.0, 2.5), "`num_groups` is 2.5: give an"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
