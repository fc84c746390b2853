"""What a newcomer meets first: the Makefile, the lock, the terminal. Nothing is installed; a stub stands for Python and pip."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import preloaded
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from project import ROOT
from tiny_workflow import OF_MAKE

BIN = Path(sys.executable).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
PLATFORMS = {
    "linux x86-64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    "linux aarch64": {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    "macos arm64": {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
}
# A Python that says it is VERSION: makes an environment that is a copy of itself, and notes what pip was called with.
STUB = """#!/bin/sh
case "$1 $2" in
"-V ") echo "Python VERSION" ;;
-c*) exec REAL -c "import sys; sys.version_info = tuple(map(int, 'VERSION'.split('.'))); $2" ;;
"-m venv") [ "$3" = --clear ] && rm -rf .venv; mkdir -p .venv/bin; cp "$0" .venv/bin/python ;;
"-m pip") echo "VERSION PIP_USER=$PIP_USER PIP_TARGET=$PIP_TARGET $*" >> pip.txt ;;
*) echo "$*" ;;
esac
"""


def make(folder: Path, *arguments: str, **variables: str | None) -> subprocess.CompletedProcess[str]:
    """What `make` gives, with these variables of the environment set or, where None, not set."""
    changed = {name: value for name, value in os.environ.items() if name not in OF_MAKE}
    changed |= {"PYTHONPATH": str(ROOT / "src")} | variables
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={name: value for name, value in changed.items() if value is not None},
        text=True,
        capture_output=True,
        timeout=120,
        check=False,
    )


def executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)
    return path


def python(folder: Path, version: str) -> str:
    text = STUB.replace("VERSION", version).replace("REAL", sys.executable)
    return str(executable(folder / f"python{version}", text))


@pytest.fixture
def folder(tmp_path) -> Path:
    """A clone in a folder with an awkward name: what the Makefile reads, and two configurations."""
    folder = tmp_path / "süd (1)'s"
    (folder / "config").mkdir(parents=True)
    for name in ("Makefile", "requirements.lock", "requirements-test.lock", "pyproject.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    config = {"experiments": {"sweep": {"axis": "learning_rate", "grid": [{"batch_size": [10, 20]}]}}}
    for file, run in (("config.yaml", "quick"), ("mein Läuf's.yaml", "mine")):
        (folder / "config" / file).write_text(yaml.safe_dump(config | {"run": run}), encoding="utf-8")
    return folder


@pytest.fixture
def installed(folder) -> Path:
    """The same with an environment in which snakemake and the library's programs say how they were called."""
    real = f'[ "$1" = -V ] && exec {sys.executable} "$@"\n'
    real += f'[ "$2" = bayes_sgd.experiment.config ] && exec {preloaded.programs() / "python"} "$@"'
    stub = f'#!/bin/sh\n{real}\necho "${{0##*/}} $*"\n'
    for name in ("python", "snakemake"):
        executable(folder / ".venv" / "bin" / name, stub)
    (folder / ".venv" / "run").touch()
    return folder


@pytest.mark.parametrize("version", ["2.7.18", "3.10.13", "3.15.0"])
def test_a_python_that_does_not_suit_is_told_in_one_line_and_leaves_no_environment(folder, version):
    done = make(folder, "run", f"PYTHON={python(folder.parent, version)}")
    line, last = done.stderr.splitlines()
    assert line.startswith("error: Python 3.11 to 3.14 is wanted, ")
    assert version.rpartition(".")[0] in line
    assert last.startswith("make: ***")
    assert done.returncode
    assert not (folder / ".venv").exists()


def test_the_makefile_and_the_project_want_the_same_pythons():
    wanted = SpecifierSet(PROJECT["requires-python"])
    assert all(version in wanted for version in PYTHONS)
    assert not any(version in wanted for version in ("3.10", "3.15"))


def test_another_python_makes_the_environment_anew_and_the_same_one_leaves_it(folder):
    first, second = (python(folder.parent, version) for version in ("3.11.7", "3.13.0"))
    noted = folder / "pip.txt"
    for named, version, kept in ((first, "3.11.7", False), (first, "3.11.7", True), (second, "3.13.0", False)):
        (folder / ".venv" / "run").unlink(missing_ok=True)
        done = make(folder, ".venv/run", f"PYTHON={named}")
        assert done.returncode == 0, done.stderr
        assert "6.5 GB" in done.stdout
        assert f"{version} PIP_USER=0 PIP_TARGET= -m pip install" in noted.read_text(encoding="utf-8").splitlines()[-1]
        assert (folder / ".venv" / "cpu-build-of-torch").exists() == kept
        (folder / ".venv" / "cpu-build-of-torch").touch()
    before = noted.read_text(encoding="utf-8")
    assert "is up to date" in make(folder, ".venv/run").stdout, "without PYTHON, the one in .venv is meant"
    assert noted.read_text(encoding="utf-8") == before


def test_settings_of_pip_for_another_place_do_not_reach_it(folder):
    make(folder, ".venv/test", f"PYTHON={python(folder.parent, '3.12.1')}", PIP_USER="1", PIP_TARGET="/elsewhere")
    lines = (folder / "pip.txt").read_text(encoding="utf-8").splitlines()
    assert [line.split(" -m pip ")[0] for line in lines if "install" in line] == ["3.12.1 PIP_USER=0 PIP_TARGET="] * 2
    assert lines[-1].endswith("install --constraint requirements-test.lock --editable .[test]")


def test_an_environment_whose_making_was_interrupted_is_made_anew(folder):
    stub = python(folder.parent, "3.12.1")
    broken = executable(folder / ".venv" / "bin" / "python", '#!/bin/sh\n[ "$1" = -V ] && echo "Python 3.12.1"\n')
    assert make(folder, ".venv/run", f"PYTHON={stub}").returncode == 0
    assert broken.read_text(encoding="utf-8") == Path(stub).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("config", "run"),
    [(None, "quick"), ("config/mein Läuf's.yaml", "mine")],
    ids=["the default", "a file with an awkward name"],
)
def test_the_run_is_the_one_that_the_configuration_names(installed, config, run):
    given = [] if config is None else [f"CONFIG={config}"]
    done = make(installed, "run", *given)
    assert done.returncode == 0, done.stderr
    ran, shown, *more = done.stdout.splitlines()
    assert ran.endswith(f"--configfile {config or 'config/config.yaml'}")
    assert shown == f"python -m bayes_sgd.report.publish show {run}"
    assert ". .venv/bin/activate" in more[-1]
    assert make(installed, "compare", *given).stdout == f"python -m bayes_sgd.report.publish compare {run}\n"
    assert make(installed, "publish", *given).stdout == f"python -m bayes_sgd.report.publish publish {run}\n"
    assert make(installed, "coverage-study", *given).stdout == f"python -m bayes_sgd.claims.coverage_study {run}\n"


@pytest.mark.parametrize(("home", "cache"), [("/proc/nohome", "{folder}/.cache"), ("", "{folder}/.cache"), ("{folder}", "")])
def test_where_home_cannot_be_written_to_the_cache_lies_here(installed, home, cache):
    executable(installed / ".venv" / "bin" / "snakemake", '#!/bin/sh\necho "cache: $XDG_CACHE_HOME"\n')
    done = make(installed, "run", HOME=home.format(folder=installed), XDG_CACHE_HOME=None)
    assert f"cache: {cache.format(folder=installed)}\n" in done.stdout, done.stderr
    assert "cache: /mine\n" in make(installed, "run", HOME="/proc/nohome", XDG_CACHE_HOME="/mine").stdout


def test_modules_are_compiled_once_and_not_by_each_process(installed):
    executable(installed / ".venv" / "bin" / "snakemake", '#!/bin/sh\necho "unwritten: $PYTHONDONTWRITEBYTECODE."\n')
    assert "unwritten: .\n" in make(installed, "run", PYTHONDONTWRITEBYTECODE="1").stdout


def test_a_run_that_is_named_is_taken_but_make_run_shows_what_it_ran(installed):
    assert make(installed, "compare", "RUN=mine").stdout.endswith("compare mine\n")
    assert make(installed, "compare", RUN="mine").stdout.endswith("compare mine\n")
    assert "show quick" in make(installed, "run", RUN="mine").stdout


@pytest.mark.parametrize("action", ["run", "compare", "publish", "coverage-study", "clean"])
def test_a_configuration_that_is_not_there_ends_every_command_in_one_line(installed, action):
    (installed / "results" / "quick").mkdir(parents=True)
    done = make(installed, action, "CONFIG=config/no such.yaml")
    assert done.returncode
    assert done.stdout == ""
    told = [line for line in done.stderr.splitlines() if not line.startswith("make:")]
    assert told == ["error: config/no such.yaml: no such file"]
    assert (installed / "results" / "quick").exists()


def made(folder: Path) -> set[Path]:
    for name in ("results/quick", "results/mine", "results/published/quick", "logs/quick", "logs/mine", "benchmarks/quick"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for name in ("benchmarks/mine", "data/prepared/mnist5k", "logs/prepare_data", ".snakemake/metadata"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    return {path.relative_to(folder) for path in folder.rglob("*")}


def test_clean_removes_what_is_of_one_run_alone(installed):
    before = made(installed)
    assert make(installed, "clean", "CONFIG=config/mein Läuf's.yaml").returncode == 0
    left = {path.relative_to(installed) for path in installed.rglob("*")}
    assert before - left == {Path("results/mine"), Path("logs/mine"), Path("benchmarks/mine")}


@pytest.mark.parametrize(
    "name", ["", " ", ".", "..", "published", "../config", "quick/../..", "/", "-rf", "a b", "*", "$$HOME"]
)
def test_clean_refuses_what_is_no_name_of_a_run(installed, name):
    before = made(installed)
    for done in (make(installed, "clean", f"RUN={name}"), make(installed, "clean", RUN=name)):
        assert done.returncode
        assert done.stderr.startswith("error: RUN is ")
    assert {path.relative_to(installed) for path in installed.rglob("*")} == before


def test_clean_wants_no_environment_where_the_run_is_named(folder):
    before = made(folder)
    refused = make(folder, "clean")
    assert refused.returncode
    assert "name the run" in refused.stderr
    assert {path.relative_to(folder) for path in folder.rglob("*")} == before
    assert make(folder, "clean", "RUN=quick").returncode == 0
    assert not (folder / "results" / "quick").exists()


def test_restore_without_a_remote_says_so(folder):
    (folder / ".dvc").mkdir()
    shutil.copyfile(ROOT / ".dvc" / "config", folder / ".dvc" / "config")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    done = make(folder, "--old-file=.venv/run", "restore", f"BIN={BIN}")
    assert done.returncode
    assert done.stderr.startswith("error: no DVC remote is set")
    assert done.stdout == ""


def test_the_stages_of_dvc_find_the_snakemake_of_the_environment(tmp_path):
    """`.venv/bin/dvc repro` in a shell that has activated nothing; without a .venv, the snakemake on the path."""
    content = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    (command,) = [entry["snakemake"] for entry in content["vars"] if isinstance(entry, dict)]
    assert all("${snakemake}" in stage["cmd"] for stage in content["stages"].values())
    executable(tmp_path / "own" / "bin" / "snakemake", "#!/bin/sh\necho own $*")
    folder = tmp_path / "My clone"
    folder.mkdir()

    def said() -> str:
        path = f"{tmp_path}/own/bin:/usr/bin:/bin"
        return subprocess.run(["/bin/sh", "-c", command], cwd=folder, env={"PATH": path}, text=True, capture_output=True).stdout

    assert said() == "own --cores all\n"
    executable(folder / ".venv" / "bin" / "snakemake", "#!/bin/sh\necho venv $*")
    assert said() == "venv --cores all\n"


def pins(platform: dict[str, str], lock: str) -> dict[str, Requirement]:
    """What a lock pins on a platform, by name."""
    lines = (ROOT / lock).read_text(encoding="utf-8").splitlines()
    found = [Requirement(line) for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(pin.name): pin for pin in found if pin.marker is None or pin.marker.evaluate(platform)}


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-test.lock"])
@pytest.mark.parametrize(("platform", "version"), list(itertools.product(PLATFORMS, PYTHONS)))
def test_the_lock_pins_all_that_is_asked_for(platform, version, lock):
    """Follows the requirements of the packages that are installed here, as they read on each platform and Python."""
    about = PLATFORMS[platform] | {"python_version": version, "python_full_version": f"{version}.1", "os_name": "posix"}
    about |= {"implementation_name": "cpython", "platform_python_implementation": "CPython"}
    locked = pins(about, lock)
    extras = itertools.chain(*PROJECT["optional-dependencies"].values()) if "test" in lock else ()
    wanted = [Requirement(text) for text in [*PROJECT["dependencies"], *extras]]
    seen: set[str] = set()
    while wanted:
        requirement = wanted.pop()
        name = canonicalize_name(requirement.name)
        assert name in locked, f"{requirement} on {platform}, Python {version}"
        (pinned,) = locked[name].specifier
        assert requirement.specifier.contains(pinned.version, prereleases=True), f"{requirement}, and the lock has {pinned}"
        if str(requirement) in seen:
            continue
        seen.add(str(requirement))
        try:
            asked = distribution(name).requires or []
        except PackageNotFoundError:  # for another platform, or for another purpose than tests
            continue
        for text in asked:
            more = Requirement(text)
            if more.marker is None or any(
                more.marker.evaluate(about | {"extra": extra}) for extra in requirement.extras | {""}
            ):
                wanted.append(more)
    gpu = {name for name in locked if re.match(r"nvidia-|cuda-|triton", name)}
    assert bool(gpu) == platform.startswith("linux")


def test_the_tests_run_with_the_versions_of_the_workflow():
    for platform in PLATFORMS.values():
        run, test = (pins(platform, lock) for lock in ("requirements.lock", "requirements-test.lock"))
        assert {name: str(test[name].specifier) for name in run} == {name: str(pin.specifier) for name, pin in run.items()}
        assert "pytest" not in run


def test_the_lock_accepts_the_cpu_build_of_torch():
    locked = pins(PLATFORMS["linux x86-64"], "requirements.lock")
    for name in ("torch", "torchvision"):
        (pinned,) = locked[name].specifier
        assert locked[name].specifier.contains(f"{pinned.version}+cpu")


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "ascii"])
def test_a_terminal_that_cannot_show_a_letter_gets_its_code(encoding):
    code = (
        "from bayes_sgd.core.errors import UserError, one_line\n"
        "with one_line():\n    print('λ 0.1')\n    raise UserError('süd: ε is wanted')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": encoding},
        capture_output=True,
    )
    assert done.returncode == 1
    assert done.stdout.decode(encoding) == ("λ 0.1\n" if encoding == "utf-8" else "\\u03bb 0.1\n")
    shown = {"utf-8": "süd: ε", "latin-1": "süd: \\u03b5", "ascii": "s\\xfcd: \\u03b5"}[encoding]
    assert done.stderr.decode(encoding) == f"error: {shown} is wanted\n"


def test_lines_end_as_on_unix_however_git_is_set():
    files = {
        "Snakefile": "lf",
        "tests/slurm/start.sh": "lf",
        ".ci/run": "lf",
        "results/published/quick/tables/claims.csv": "lf",
        "results/published/quick/figures/fig5.svg": "lf",
    }
    for file, ending in (files | {"results/published/quick/figures/fig5.png": None}).items():
        asked = ["git", "-C", str(ROOT), "check-attr", "text", "eol", "--", file]
        said = subprocess.run(asked, text=True, capture_output=True).stdout
        if not said:
            pytest.skip("no Git clone")
        assert f"text: {'auto' if ending else 'unset'}" in said
        assert ending is None or f"eol: {ending}" in said
