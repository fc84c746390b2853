#!/usr/bin/env bash
set -euo pipefail
# The library itself is not installed: jobs use that of the workflow's own folder, as planning does.
python -m pip install --requirement "${BAYES_SGD_REQUIREMENTS:?set by the workflow}"
