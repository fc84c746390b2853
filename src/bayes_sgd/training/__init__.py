"""SGD with momentum on stacks of networks, and the runner that trains what is missing of a pack."""
