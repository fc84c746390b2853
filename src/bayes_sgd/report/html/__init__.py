"""A run as one page that needs no network: `python -m bayes_sgd.report.html.page results/RUN`."""
