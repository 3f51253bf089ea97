"""The network and the training that the two experiments on classes share."""

import numpy as np
import tf_keras
from sklearn.model_selection import train_test_split

import nllfit
from experiments import common

__all__ = ["example_grid", "network", "train"]


def network(input_shape, head, units):
    """A small convolutional network for images, a small dense one for rows of features, under a head."""
    layers = tf_keras.layers
    if len(input_shape) == 1:
        body = [layers.Dense(32, "relu"), layers.Dropout(0.2)]
    else:
        blocks = max(1, min(3, int(np.log2(min(input_shape[:2]))) - 2))
        body = [layers.Rescaling(1 / 255)]
        if input_shape[-1] == 3:  # a photograph shows the same thing from the other side and from nearer
            body += [layers.RandomFlip("horizontal"), layers.RandomZoom((-0.2, 0.1))]
        for width in [32, 64, 128][:blocks]:
            body += [layers.Conv2D(width, 3, padding="same", activation="relu"), layers.MaxPooling2D()]
        body += [layers.Flatten(), layers.Dense(64, "relu"), layers.Dropout(0.5)]
    return tf_keras.Sequential([layers.Input(input_shape), *body, layers.Dense(units), head])


def train(model, x, y, epochs, batch_size, seed, title, metrics=("accuracy",)):
    """Trains on 80 % of the rows with Adam, and keeps the weights of the epoch that is best on the other 20 %."""
    x, x_validation, y, y_validation = train_test_split(x, y, test_size=0.2, random_state=seed)
    model.compile(tf_keras.optimizers.Adam(1e-3), nllfit.negative_log_likelihood, metrics=list(metrics))
    best = tf_keras.callbacks.EarlyStopping(patience=max(5, epochs // 5), restore_best_weights=True)
    return model.fit(
        x,
        y,
        batch_size=batch_size,
        epochs=epochs,
        validation_data=(x_validation, y_validation),
        callbacks=[best, common.ProgressBar(title)],
        verbose=0,
    )


def example_grid(figure, images, titles, columns=8):
    """Draws images in a grid, each under its title."""
    axes = figure.subplots(-(-len(images) // columns), columns, squeeze=False)
    for ax in axes.flat:
        ax.set_axis_off()
    for ax, image, title in zip(axes.flat, images, titles, strict=False):
        ax.imshow(image, cmap="gray_r" if image.shape[-1] == 1 else None, interpolation="nearest")
        ax.set_title(title, fontsize=8)
