"""The network and the training that the experiments `binary` and `multiclass` share."""

import functools

import numpy as np
from sklearn.model_selection import train_test_split

import nllfit
from experiments import common

__all__ = ["compared", "example_grid", "network", "print_scores", "save", "train", "trained_members"]


def network(tools, x, head, units):
    """Builds a small network with a head. It is convolutional for images, and dense for rows of features."""
    layers, input_shape = tools.keras.layers, x.shape[1:]
    if len(input_shape) == 1:
        body = [layers.Dense(32, "relu"), layers.Dropout(0.2)]
    else:
        blocks = max(1, min(3, int(np.log2(min(input_shape[:2]))) - 2))
        is_unsigned = np.issubdtype(x.dtype, np.unsignedinteger)  # unsigned integers are scaled to numbers from 0 to 1
        body = [layers.Rescaling(1 / np.iinfo(x.dtype).max if is_unsigned else 1.0)]
        if input_shape[-1] == 3:  # photographs are augmented
            body += [layers.RandomFlip("horizontal"), layers.RandomZoom((-0.2, 0.1))]
        for width in [32, 64, 128][:blocks]:
            body += [layers.Conv2D(width, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
        body += [layers.Flatten(), layers.Dense(64, "relu"), layers.Dropout(0.5)]
    return tools.keras.Sequential([layers.Input(input_shape), *body, layers.Dense(units), head])


def train(tools, model, x, y, epochs, batch_size, seed, title):
    """Trains with Adam on 80% of the rows. Keeps the weights of the epoch with the best loss on the other 20%."""
    x, x_validation, y, y_validation = _split(x, y)
    adam = tools.keras.optimizers.Adam(1e-3)
    model.compile(adam, tools.loss, metrics=["accuracy"], jit_compile=False)  # XLA's convolutions are slow on a CPU
    best = tools.keras.callbacks.EarlyStopping(patience=max(5, epochs // 5), restore_best_weights=True)
    return nllfit.fit(
        model,
        x,
        y,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=(x_validation, y_validation),
        callbacks=[best, common.progress_bar(tools.keras, title)],
        verbose=0,
        seed=seed,
    )


def trained_members(tools, x, y, head, units, arguments, title, folder):
    """Trains `--members` networks, which differ in their initial weights and orders of rows.

    Returns the networks and their histories. Each trained network is saved in `folder`, so a resumed run only trains
    the missing networks.
    """
    models, histories = [], []
    for seed in range(arguments.seed, arguments.seed + arguments.members):
        tools.keras.utils.set_random_seed(seed)
        model = network(tools, x, head(), units)
        models.append(model)
        bar_title = title if arguments.members == 1 else f"{title}, network {len(models)} of {arguments.members}"
        settings = arguments.epochs, arguments.batch_size, seed, bar_title
        fit = functools.partial(train, tools, model, x, y, *settings)
        histories.append(common.trained(model, folder / "unfinished" / f"network-{len(models)}.npz", fit))
    return models, histories


def compared(models, x, y, x_test, y_test):
    """Evaluates the first model and the ensemble on test rows, before and after temperature scaling.

    The validation rows determine the temperature. Returns a dict of evaluations by the name of the model.
    """
    _, x_validation, _, y_validation = _split(x, y)
    evaluations = {}
    for name, model in {"one network": models[0], f"ensemble of {len(models)}": nllfit.Ensemble(models)}.items():
        if name != "ensemble of 1":
            scaled = nllfit.scale_temperature(model, x_validation, y_validation, batch_size=256)
            evaluations[name] = nllfit.evaluate(model, x_test, y_test, batch_size=256)
            evaluations[f"{name}, T = {scaled.temperature:.2f}"] = nllfit.evaluate(
                scaled, x_test, y_test, batch_size=256
            )
    return evaluations


def save(models, folder):
    """Writes the first model. If there are several models, also writes their ensemble."""
    models[0].save(folder / "model.keras")
    if len(models) > 1:
        nllfit.Ensemble(models).save(folder / "ensemble")


def print_scores(evaluations):
    """Prints the scores of each model on the test rows."""
    rows = next(iter(evaluations.values())).num_rows
    print(f"\n{f'on {rows} test rows':28}{'NLL (nats)':>18}{'accuracy':>10}{'Brier':>9}{'ECE':>9}")
    for name, evaluation in evaluations.items():
        nll = f"{evaluation.nll:.4f} +- {evaluation.nll_se:.4f}"
        print(
            f"{name:28}{nll:>18}{evaluation.accuracy:>10.4f}{evaluation.brier:>9.4f}{evaluation.calibration_error:>9.4f}"
        )


def _split(x, y):
    """Returns the training and the validation rows. They are the same for all members of an ensemble."""
    return train_test_split(x, y, test_size=0.2, random_state=0)


def example_grid(figure, images, titles, columns=8):
    """Draws images with titles in a grid."""
    axes = figure.subplots(-(-len(images) // columns), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.imshow(image, cmap="gray_r" if image.shape[-1] == 1 else None, interpolation="nearest")
        ax.set_title(title, fontsize=8)
