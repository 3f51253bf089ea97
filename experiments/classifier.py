"""The network and the training that the two experiments on classes share."""

import numpy as np
from sklearn.model_selection import train_test_split

import nllfit
from experiments import common

__all__ = ["example_grid", "network", "train"]


def network(tools, x, head, units):
    """A small convolutional network for images, a small dense one for rows of features, under a head."""
    layers, input_shape = tools.keras.layers, x.shape[1:]
    if len(input_shape) == 1:
        body = [layers.Dense(32, "relu"), layers.Dropout(0.2)]
    else:
        blocks = max(1, min(3, int(np.log2(min(input_shape[:2]))) - 2))
        body = [
            layers.Rescaling(1 / 255 if x.dtype == np.uint8 else 1.0)
        ]  # numbers that are no bytes are left as given
        if input_shape[-1] == 3:  # a photograph shows the same thing from the other side and from nearer
            body += [layers.RandomFlip("horizontal"), layers.RandomZoom((-0.2, 0.1))]
        for width in [32, 64, 128][:blocks]:
            body += [layers.Conv2D(width, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
        body += [layers.Flatten(), layers.Dense(64, "relu"), layers.Dropout(0.5)]
    return tools.keras.Sequential([layers.Input(input_shape), *body, layers.Dense(units), head])


def train(tools, model, x, y, epochs, batch_size, seed, title):
    """Trains on 80 % of the rows with Adam, and keeps the weights of the epoch that is best on the other 20 %."""
    x, x_validation, y, y_validation = train_test_split(x, y, test_size=0.2, random_state=seed)
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


def example_grid(figure, images, titles, columns=8):
    """Draws images in a grid, each under its title."""
    axes = figure.subplots(-(-len(images) // columns), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.imshow(image, cmap="gray_r" if image.shape[-1] == 1 else None, interpolation="nearest")
        ax.set_title(title, fontsize=8)
