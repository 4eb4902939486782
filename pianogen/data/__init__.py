"""Windows of a store: their order, their batches, and statistics of a split."""
