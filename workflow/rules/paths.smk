"""Where this workflow lies, and its library first on the path, whoever calls it and from wherever.

OUTPUTS  ROOT, beside(): files of the workflow; the library of the same clone for planning and for jobs
"""

import os
import sys
from pathlib import Path

HERE = workflow.current_basedir.get_path_or_uri(secret_free=True)
# None where Snakemake reads the workflow from a repository without a clone; then the library that is installed is used
ROOT = Path(HERE).resolve().parents[1] if Path(HERE).is_dir() else None


def beside(path):
    """A file of this workflow. Relative if it lies below the working folder, so that a folder with results can be moved."""
    if ROOT is None:
        return workflow.source_path(f"../../{path}")
    return os.path.relpath(ROOT / path) if ROOT.is_relative_to(Path.cwd()) else str(ROOT / path)


def refuse(message):
    """End with one line. Before the library is there, whose `one_line` does the same."""
    print(f"error: {message}", file=sys.stderr)
    raise SystemExit(1)


if ROOT is not None:
    source = str(ROOT / "src")
    loaded = list(getattr(sys.modules.get("bayes_sgd"), "__path__", []))
    if loaded and Path(loaded[0]).resolve() != ROOT / "src" / "bayes_sgd":
        refuse(f"bayes_sgd was loaded from {loaded[0]}, not from {source}, before this workflow was read")
    sys.path.insert(0, source)
    # jobs are other processes, which get the environment
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    os.environ.update(PYTHONPATH=os.pathsep.join([source, *(path for path in paths if path not in ("", source))]))

# workflow/envs/bayes-sgd.post-deploy.sh installs what stands there
os.environ.update(BAYES_SGD_REQUIREMENTS=os.path.abspath(beside("requirements.lock")))
