"""Training: `fit` runs several epochs in one compiled call, and `fit_lbfgs` finds the optimum of a small model.

How `fit` works, file by file:

    fit.py              checks the arguments (fit_arguments.py)
    batches.py          makes a source: `Arrays`, or a `Stream` (streams.py) with a reader (dataset_readers.py)
    outcome_support.py  checks outcomes against the support of the heads (model_outputs.py)
    callback_loop.py    calls Keras's callbacks before and after the epochs of a `Run` (watched_model.py)
    runs.py             gives chunks of the source (chunk_layout.py) to programs, and restores the model after an error
    graph_or_xla.py     decides for each call of a program: graph or XLA, and how many steps
    epoch_programs.py   traces the loops of loops.py once for an architecture (architecture.py), and calls them
    backups.py          writes and restores the state of a run
    failures.py         has the error messages

`fit_lbfgs` (lbfgs.py) treats the loss as a function of the weights (loss_surface.py) and searches for its minimum
(weight_search.py). Differences between the Keras versions are in `nllfit.adapters`.

To change something:

- A rule for when a run stops: a Keras callback with `on_epoch_end`, which sets `self.model.stop_training = True`. If it
  only reads the model and comes from Keras, add its name to `_READERS` in fit_arguments.py, so that one call runs many
  epochs.
- A rule for when XLA takes over: a line in `graph_or_xla.next_call`, or in `_is_worth_compiling` if it depends on
  measured times. A rule for the number of steps in a call: `_max_steps`. Each rule has a row in
  `tests/training/test_graph_or_xla.py`.
- A kind of dataset: a reader in dataset_readers.py and a line in `reader_of` there. `streams.is_stream` tells datasets
  from arrays, and `Stream` checks the first batch.
- A metric or a loss for both Keras versions: a mix-in in `nllfit/shared_metrics.py` or `nllfit/shared_losses.py`, and
  one line in each of `nllfit/metrics.py` and `nllfit/keras3/metrics.py`, or in the two losses.py.
"""

from nllfit.training.fit import fit
from nllfit.training.lbfgs import fit_lbfgs

__all__ = ["fit", "fit_lbfgs"]
