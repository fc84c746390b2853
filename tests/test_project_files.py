"""Recipes of containers, the hooks before a commit and the workflow of GitHub say what the Makefile and the gate say."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import yaml
from project import ROOT


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def test_both_images_have_the_same_pinned_base_and_are_made_from_the_lock() -> None:
    recipes = [text("containers/Dockerfile"), text("containers/apptainer.def")]
    bases = {re.search(r"python:3\.11-slim-bookworm@sha256:[0-9a-f]{64}\n", recipe)[0] for recipe in recipes}
    assert len(bases) == 1
    assert all("--constraint requirements.lock" in recipe for recipe in recipes)


def test_a_lock_of_dvc_is_committed_only_with_a_remote_that_has_its_files() -> None:
    tracked = subprocess.run(["git", "ls-files", "dvc.lock"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert not tracked or "remote" in text(".dvc/config")


def test_the_image_of_apptainer_holds_what_is_committed_and_nothing_else(tmp_path: Path) -> None:
    clone, image = tmp_path / "my clone", tmp_path / "the image"
    for name in ("requirements.lock", "src/a.py", "results/quick/weights", ".venv/bin/python"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).touch()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org"]
    for command in (["init", "-q"], ["add", "requirements.lock", "src"], ["commit", "-q", "-m", "all"]):
        subprocess.run([*git, *command], cwd=clone, check=True)
    setup = text("containers/apptainer.def").partition("%setup\n")[2].partition("\n%")[0]
    subprocess.run(["sh", "-ec", setup], cwd=clone, env=os.environ | {"APPTAINER_ROOTFS": str(image)}, check=True)
    copied = {path.relative_to(image).as_posix() for path in image.rglob("*") if path.is_file()}
    assert copied == {"opt/bayes-sgd/requirements.lock", "opt/bayes-sgd/src/a.py"}


def test_the_profile_of_gpu_partitions_is_that_of_slurm_but_for_what_jobs_ask_for() -> None:
    plain, gpu = (yaml.safe_load(text(f"profiles/{name}/config.yaml")) for name in ("slurm", "slurm_gpu"))
    assert {asked["gpu"] for asked in gpu.pop("set-resources").values()} == {1}
    assert gpu == plain


def test_hooks_before_a_commit_are_checks_of_make_lint() -> None:
    lint = text("Makefile").partition("\nlint:")[2].partition("\n\n")[0].replace("$(BIN)", ".venv/bin")
    (local,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert [hook["id"] for hook in local["hooks"] if hook["entry"] not in lint] == []


def test_github_calls_the_gate() -> None:
    (job,) = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"].values()
    assert [step["run"] for step in job["steps"] if "run" in step] == ['sudo -E env PATH="$PATH" bash .ci/run']


def test_every_file_of_the_codecheck_manifest_is_published() -> None:
    files = [entry["file"] for entry in yaml.safe_load(text("codecheck.yml"))["manifest"]]
    assert [file for file in files if not (ROOT / file).exists()] == []


def test_the_catalog_of_workflows_gets_the_keys_that_it_knows_and_what_they_say_is_so() -> None:
    """Those of snakemake/snakemake-workflow-catalog, and its layout of a workflow that it shows how to deploy."""
    usage = yaml.safe_load(text(".snakemake-workflow-catalog.yml"))["usage"]
    assert set(usage) <= {"mandatory-flags", "software-stack-deployment", "report"}
    assert set(usage["mandatory-flags"]) == {"desc", "flags"}
    deployment = usage["software-stack-deployment"]
    assert set(deployment) <= {"conda", "apptainer", "singularity", "apptainer+conda", "singularity+conda"}
    assert {type(value) for value in (*deployment.values(), usage["report"])} == {bool}
    rules = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "workflow").rglob("*.smk"))
    assert deployment["conda"] == ("conda:" in rules)
    assert deployment["apptainer"] == ("container:" in rules)
    assert usage["report"] == ("report(" in rules)
    for name in ("workflow/Snakefile", "config/README.md", "config/config.yaml", "README.md", "LICENSE"):
        assert (ROOT / name).is_file(), name
