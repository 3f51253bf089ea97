"""Files saved by version 0.1.0 and by commit 2a14c17 still load, and give the same numbers."""

import io
import json
import tarfile
import zipfile

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import nllfit
from tests.files import DATA
from tests.keras_versions import KITS, in_turn

tfd = tfp.distributions

ARCHIVE = zipfile.ZipFile(io.BytesIO((DATA / "saved_by_0.1.0.zip").read_bytes()))
KNOWN = json.loads(ARCHIVE.read("known.json"))
LATER = {
    "Censored",
    "DistributionLambda",
    "Hurdle",
    "Truncated",
    "ZeroInflated",
}  # heads that version 0.1.0 did not have
KIT_OF = {kit.keras.__name__: kit for kit in KITS}

with tarfile.open(DATA / "saved_by_2a14c17.tar.xz") as archive:
    LATER_FILES = {member.name: archive.extractfile(member).read() for member in archive}
LATER_KNOWN = json.loads(LATER_FILES["known.json"])
FUNCTIONS = {
    "quantile": lambda distribution: nllfit.quantile(distribution, 0.3),
    "interval": lambda distribution: nllfit.interval(distribution, 0.8),
    "survival": lambda distribution: nllfit.survival(distribution, 2.0),
}


def skewed(params):
    loc, scale = tf.split(params, 2, axis=-1)
    return tfd.Independent(tfd.SinhArcsinh(loc, tf.exp(scale), skewness=0.5), 1)


for kit in KITS:
    kit.keras.saving.register_keras_serializable("tests", "skewed")(skewed)


def test_there_are_saved_files_of_every_named_head_for_both_versions():
    for kit in KITS:
        prefix = f"{kit.keras.__name__}-"
        saved = {key[len(prefix) :].partition("-")[0] for key in KNOWN["models"] if key.startswith(prefix)}
        assert saved == set(kit.heads.__all__) - {"DistributionHead"} - LATER
        later = {key[len(prefix) :].partition("-")[0] for key in LATER_KNOWN["models"] if key.startswith(prefix)}
        assert later == set(kit.heads.__all__)


# Every run loads each head from one file format. The other format is marked `thorough`.
@pytest.mark.parametrize(
    ("key", "suffix"),
    [
        pytest.param(key, suffix, id=f"{key}-{suffix}", marks=pytest.mark.thorough if (i + j) % 2 else ())
        for i, key in enumerate(KNOWN["models"])
        for j, suffix in enumerate(("keras", "h5"))
    ],
)
def test_a_saved_head_gives_the_numbers_it_gave(key, suffix, tmp_path):
    kit, known = KIT_OF[key.partition("-")[0]], KNOWN["models"][key]
    path = ARCHIVE.extract(f"{key}.{suffix}", tmp_path)
    model = kit.keras.models.load_model(path, safe_mode=True)
    output = model(np.array(KNOWN["x"], "float32"))
    log_prob = kit.distribution(output).log_prob(np.array(known["y"])).numpy()
    # The numbers are identical on the machine that saved the file. Other processors may round differently.
    np.testing.assert_allclose(log_prob, known["log_prob"], rtol=2e-6)
    np.testing.assert_allclose(tf.convert_to_tensor(output), known["prediction"], rtol=2e-6, atol=1e-7)


def names_of(kind):
    """The names of the saved models or folders of one kind, which are the same for both versions of Keras."""
    return [key.partition("-")[2] for key in LATER_KNOWN[kind] if key.startswith("keras-")]


def check(distribution, known):
    """Checks that a loaded distribution gives the numbers that were recorded when the model was saved."""
    log_prob = distribution.log_prob(np.array(known["y"])).numpy()
    np.testing.assert_allclose(log_prob, known["log_prob"], rtol=2e-6, atol=1e-7)
    for name in known.keys() & FUNCTIONS.keys():
        np.testing.assert_allclose(FUNCTIONS[name](distribution), known[name], rtol=2e-6, atol=1e-7, err_msg=name)


@pytest.mark.thorough(but=("tf_keras-Mixture", "tf_keras-DistributionHead-1", "keras"))
@pytest.mark.parametrize(("kit", "name"), in_turn(names_of("models"), left_out=names_of("models")[1::2]))
def test_a_head_saved_before_the_families_changed_gives_the_numbers_it_gave(kit, name, tmp_path):
    key = f"{kit.keras.__name__}-{name}"
    known, x = LATER_KNOWN["models"][key], np.array(LATER_KNOWN["x"], "float32")
    for suffix in ("keras", "h5"):
        if f"{key}.{suffix}" not in LATER_FILES:
            continue
        path = tmp_path / f"model.{suffix}"
        path.write_bytes(LATER_FILES[f"{key}.{suffix}"])
        output = kit.keras.models.load_model(path, safe_mode=True)(x)
        np.testing.assert_allclose(tf.convert_to_tensor(output), known["prediction"], rtol=2e-6, atol=1e-7)
    check(kit.distribution(output), known)


@pytest.mark.thorough(but=("tf_keras-Temper", "tf_keras-Conformalized-1", "tf_keras-Recalibrated-1"))
@pytest.mark.parametrize(("kit", "name"), in_turn(names_of("folders"), left_out=names_of("folders")[1::2]))
def test_an_ensemble_or_a_calibrated_model_gives_the_numbers_it_gave(kit, name, tmp_path):
    key = f"{kit.keras.__name__}-{name}"
    for file in [file for file in LATER_FILES if file.startswith(f"{key}/")]:
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LATER_FILES[file])
    model = getattr(nllfit, name.partition("-")[0]).load(tmp_path / key)
    x, known = np.array(LATER_KNOWN["x"], "float32"), LATER_KNOWN["folders"][key]
    check(nllfit.predict_distribution(model, x), known)
