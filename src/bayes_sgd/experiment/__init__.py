"""What is asked for: the configuration, its cells, the packs that jobs train, what a run's folder belongs to."""
