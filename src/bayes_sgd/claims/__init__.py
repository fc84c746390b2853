"""The claims of the paper: what is measured for each, its limits, its verdict, and how far verdicts can be trusted."""
