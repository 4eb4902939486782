"""Windows of a store: their order, their batches, and the statistics of a split."""
