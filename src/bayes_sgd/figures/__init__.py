"""The figures of the paper and ours, drawn from tables."""
