"""The joint model: one recurrent network shared by all keys, and a head that draws the keys of a step one after the other.

The way of a window through the modules, with the shapes:

    Window                 (B, W + 1, 22) packed rows, their tempos, bar positions and context
      │  rows.py           the input for each predicted row; in sampling, history.py computes it from the rows drawn so far
      ▼
    Rows                   (T, B, 88) states and times of the keys; (T, B) step, bar, tempo and length of the match
      │  features.py       channels of each key, of the pitch classes and of the step
      │  body.py           linear functions of them (banded.py, layers.py), a rectifier, and the recurrence (recurrence.py)
      ▼
    Output.key_units       (T, B, K, U)
      │  heads.py          the holds of a row, then its onsets: a stage each (stages.py)
      ▼
    log likelihood         (T, B) of the true states, in training and evaluation
    states                 (T, B, K), in sampling: drawn from the lowest key to the highest (fixed_point.py)

tempo.py predicts the tempo of a row from Rows and the states of the row. network.py joins all of it to a `Network`; ensemble.py
takes means over several models.

Shapes in this package: T = W rows that are predicted, B batch, K keys in use, U units, N = T * B. Rows come first, as the fused
LSTM kernel reads them.
"""
