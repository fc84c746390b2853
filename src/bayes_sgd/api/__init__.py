"""The library in Python: data, sweeps and the evidence of one's own network, without a workflow."""
