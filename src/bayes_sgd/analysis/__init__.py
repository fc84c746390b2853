"""From the table of cells to optimum batch sizes, exponents and predictions, with intervals."""
