#!/usr/bin/env bash
set -euo pipefail
<<<<<<< HEAD
python -m pip install --constraint requirements.lock .
=======
# The library itself is not installed: jobs use that of the workflow's own folder, as planning does.
python -m pip install --requirement "${BAYES_SGD_REQUIREMENTS:?set by the workflow}"
>>>>>>> 82c5b21 (Code digests of what a script uses, blind to moves, imports and Python; the workflow's own library first; called from anywhere; make accept)
