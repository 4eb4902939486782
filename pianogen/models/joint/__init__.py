"""The joint model: one recurrent network shared by all keys, and a head that draws the keys of a step one after the other.

Shapes in this package: T rows that are predicted, B batch, K keys in use, U units, N = T * B. Rows come first, as the fused LSTM
kernel reads them.
"""
