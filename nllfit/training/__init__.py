"""Training: `fit` runs several epochs in one compiled call, and `fit_lbfgs` finds the optimum of a small model.

How `fit` works, file by file:

    fit.py              checks the arguments (fit_arguments.py, callback_checks.py)
    batches.py          converts the data to `Arrays`, or to a `Stream` (streams.py) with a reader (dataset_readers.py)
    outcome_support.py  checks outcomes against the support of the heads (model_outputs.py)
    callback_loop.py    trains the epochs of a `Run` and calls Keras's callbacks (model_for_callbacks.py)
    run_state.py        gives chunks of the data (chunk_layout.py) to programs, and restores the model after an error
    graph_or_xla.py     decides for each call of a program: graph or XLA, and how many steps
    epoch_programs.py   traces the loops of traced_steps.py once for an architecture (architecture.py), and calls them
    backups.py          writes and restores the state of a run
    failures.py         writes the messages of errors that end a run

`fit_lbfgs` (lbfgs.py) treats the loss as a function of the weights (loss_surface.py) and searches for its minimum
(weight_search.py). Differences between the Keras versions are in `nllfit.adapters`.

How to extend it:

- To stop a run by a new rule, write a Keras callback. Its `on_epoch_end` sets `self.model.stop_training = True`.
- If one call should still run many epochs although a callback of Keras reads the model, add the callback's name to
  `_READERS` in callback_checks.py. The callback must not change the model.
- To switch to XLA by a new rule, change `graph_or_xla.next_call`, or `_is_worth_compiling` if the rule depends on
  measured times. The number of steps in a call is set in `_max_steps`. Add a row for each rule to
  `tests/training/test_graph_or_xla.py`.
- To read a new kind of dataset, add a reader to dataset_readers.py and select it in `reader_of`. `streams.is_stream`
  distinguishes datasets from arrays, and `Stream` checks the first batch.
- To add a metric or a loss for both Keras versions, add a mix-in to `nllfit/shared_metrics.py` or
  `nllfit/shared_losses.py`. Then add one line for each Keras version: to `nllfit/metrics.py` and
  `nllfit/keras3/metrics.py`, or to `nllfit/losses.py` and `nllfit/keras3/losses.py`.
"""

from nllfit.training.fit import fit
from nllfit.training.lbfgs import fit_lbfgs

__all__ = ["fit", "fit_lbfgs"]
