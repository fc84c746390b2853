"""What all stages share: the validated configuration and the lists of what it asks for.

INPUTS   config (one YAML file)
OUTPUTS  CONFIG, RUN, PACKS, CAPTIONS, and functions that give a rule its own part of the configuration, so that a rule runs again
         only when its own part changes
"""

import gc
import inspect
from functools import cache
from pathlib import Path

try:
    from bayes_sgd.experiment.config import load_config, read_mapping
    from bayes_sgd.data.datasets import check_source, data_sizes, prepared_name
    from bayes_sgd.core.errors import UserError, one_line
    from bayes_sgd.experiment.evidence_plan import (
        evidence_packs,
        invariance_case,
        invariance_l2,
        spectra_packs,
    )
    from bayes_sgd.experiment.feeds import feed_notes, feeding
    from bayes_sgd.experiment.fields import seed_range
    from bayes_sgd.figures.registry import captions, figure_groups, figure_tables
    from bayes_sgd.report.html.planning import METHOD, figure_labels, templates_digest
    from bayes_sgd.report.estimate import (
        batches,
        cheapest,
        pack_evidence_seconds,
        pack_seconds,
        request_minutes,
        run_cost,
    )
    from bayes_sgd.training.calibration import calibration
    from bayes_sgd.training.progress import BriefDict, BriefList, Progress, counted, summary
    from bayes_sgd.core.provenance import code_digest
    from bayes_sgd.experiment.run_folder import check_owner, plain_path, record_owner
    from bayes_sgd.data.memory import (
        check_memory,
        evidence_kernel,
        kernel_request_mb,
        linear_request_mb,
        noise_request_mb,
        spectra_kernel,
        training_request_mb,
        whole_memory,
    )
    from bayes_sgd.data.sizes import check_sizes
    from bayes_sgd.experiment.packs import check_experiments, packs, simple_noise_plans
    from bayes_sgd.core.io import check_writable, forget
except ModuleNotFoundError as missing:
    refuse(
        f"Snakemake's Python ({sys.executable}) has no module {missing.name.partition('.')[0]}; in a clone of this workflow: "
        f"{sys.executable} -m pip install --requirement requirements.lock, then --no-deps --editable ."
    )

# a plan of thousands of jobs is millions of objects that stay: looking for garbage among them takes a tenth of the time
gc.set_threshold(100_000, 50, 100)

with one_line():
    # before Snakemake itself tries, which would end in a traceback
    check_writable(Path(".snakemake"))
    CONFIG_FILE = " + ".join(map(plain_path, workflow.configfiles))
    if len(workflow.configfiles) > 1 and workflow.modifier.is_main_snakefile():
        raise UserError(f"--configfile {CONFIG_FILE}: a run is one file; give one, and --config key=value for single keys")
    for file in workflow.configfiles:
        # Snakemake has read it already, and of two equal keys kept the last
        read_mapping(Path(plain_path(file)))
    CONFIG = load_config(config, CONFIG_FILE)
    check_source(CONFIG.data)
    DATA = prepared_name(CONFIG.data)
    SIZES = data_sizes(CONFIG.data)
    check_experiments(CONFIG, CONFIG_FILE)
    check_sizes(CONFIG, SIZES, CONFIG_FILE)
    if workflow.is_main_process and workflow.modifier.is_main_snakefile():
        check_owner(Path("results") / CONFIG.run, workflow.configfiles)
        for note in feed_notes(CONFIG):
            print(note, file=sys.stderr)

RUN = CONFIG.run
PACKS = packs(CONFIG)
EVIDENCE_PACKS = evidence_packs(CONFIG)
INVARIANCE_CASE = invariance_case(CONFIG)
SPECTRA_PACKS = spectra_packs(CONFIG)
CAPTIONS = captions(CONFIG)
LINEAR_LABELS = ["real", "random"] if CONFIG.linear.seeds else []
# the scripts that make numbers of the run's tables
NUMBERS = (
    *("prepare_data", "randomize_labels", "train", "fit_linear", "measure_noise", "measure_simple_noise"),
    *("compute_evidence", "check_invariance", "compute_spectra", "compare_laplace_ais", "estimate_optima", "judge_claims"),
)
PROGRESS = Progress({Path(f"results/{RUN}/cells/{pack}.parquet"): plans for pack, plans in PACKS.items()})
# the tables that are estimated from that of cells
ESTIMATED = ("optimum", "scaling", "laws", "n_law", "n_law_fit", "prediction", "advice")
if feeding(CONFIG, "one_constant"):
    ESTIMATED += ("fit_batch", "predictors")
# what the table of cells depends on
CELLS_PART = ("experiments", "cell", "seeds", "record", "cooldown", "data")


wildcard_constraints:
    run=RUN,
    data=DATA,
    labels=r"real|random|random-0\.[0-9]+",
    # not all names: Snakemake reads this text again for each job, which takes seconds for thousands of packs
    pack=r"[\w.+-]+",


def known(function):
    """A rule's function with its signature worked out: Snakemake asks for it some twenty times a job."""
    function.__signature__ = inspect.signature(function)
    return function


def code(*scripts):
    """The digest of the code of scripts and of all of the library that they use: a rule's parameter.

    A function, so that a job, which reads all rules, computes only its own; and once, however many jobs the rule has.
    """
    once = cache(lambda: code_digest(*(beside(f"workflow/scripts/{script}.py") for script in scripts)))
    return known(lambda wildcards: once())


def take_folder(jobs):
    """Before the first job: refuse what this machine cannot hold, and write whose the run's folder is."""
    with one_line():
        large = {"compute_evidence", "compute_spectra"} & {job.rule.name for job in jobs}
        if large and workflow.local_exec:
            check_memory(CONFIG, SIZES.classes, whole_memory(CONFIG.device), CONFIG_FILE)
        record_owner(Path("results") / RUN, workflow.configfiles)


def print_cost(jobs):
    """Before the first job: what those that wait will take, if there is training or evidence among them."""
    if {"train", "compute_evidence"} & {job.rule.name for job in jobs} and (speed := calibration()):
        named = {(job.rule.name, job.wildcards.get("pack") or job.wildcards.get("labels") or "") for job in jobs}
        slots = workflow.cores if workflow.local_exec else workflow.nodes
        print(run_cost(CONFIG, SIZES, speed).only(named).line(slots or os.cpu_count()), file=sys.stderr)


@cache
def seconds_of_packs(rule):
    """What each pack's job is estimated to take; nothing on one machine, where no job asks for time."""
    if not (workflow.non_local_exec_or_dryrun and (speed := calibration())):
        return {}
    took, of = {"train": (pack_seconds, PACKS), "compute_evidence": (pack_evidence_seconds, EVIDENCE_PACKS)}[rule]
    return {pack: took(CONFIG, plans, SIZES, speed) for pack, plans in of.items()}


@cache
def batch_of_packs(rule):
    """On a cluster: the batch of each pack whose job is shorter than a minute there, where the profile asks for batches."""
    if "packs" not in workflow.group_settings.group_components:
        return {}
    names = {pack: f"{rule}_{number}" for pack, number in batches(seconds_of_packs(rule), at_least=60).items()}
    # a batch is as large as all groups of `packs` in the profile
    workflow.parent_groupids.update(dict.fromkeys(names.values(), "packs"))
    return names


def in_batches(rule):
    """The group of a pack's job: its batch, or none."""
    return known(lambda wildcards: batch_of_packs(rule).get(wildcards.pack))


def minutes(rule, amount):
    """Time to ask for, by the pack's estimate, or `amount` where there is none; doubled at each retry."""

    def resource(wildcards, attempt):
        seconds = seconds_of_packs(rule).get(wildcards.pack)
        return (amount if seconds is None else request_minutes(seconds)) * 2 ** (attempt - 1)

    return known(resource)


def plain_plans(plans):
    """Plans as plain data, for a rule's parameters."""
    return BriefList([plan.to_dict() for plan in plans], summary(plans))


@known
def pack_plans(wildcards):
    """The cells of a pack: a rule's parameters, so that a new cell re-runs its pack and no other."""
    return plain_plans(PACKS[wildcards.pack])


@known
def pack_labels(wildcards):
    """The labelling of a pack's cells."""
    return f"data/prepared/{DATA}/labels_{PACKS[wildcards.pack][0].cell.labels}.safetensors"


def smallest_packs(wildcards):
    """The cells of the two packs that take least, to try a cluster with."""
    speed = calibration()
    took = {pack: pack_seconds(CONFIG, plans, SIZES, speed) if speed else 0.0 for pack, plans in PACKS.items()}
    return expand(f"results/{RUN}/cells/{{pack}}.parquet", pack=cheapest(took))


def prepared_files():
    """The prepared data and the labellings that training needs."""
    labels = {pack[0].cell.labels for pack in PACKS.values()}
    labels = sorted(labels | ({CONFIG.cell.labels} if CONFIG.noise.seeds else set()))
    return expand(
        "data/prepared/{data}/{file}.safetensors",
        data=DATA,
        file=["data", *(f"labels_{name}" for name in labels)],
    )


def known_data():
    """The manifest of a user's file, a target of its own: without it Snakemake would not miss that of a replaced file, where it
    has forgotten (in another clone, without .snakemake) from which files the results were made."""
    return [f"data/prepared/{DATA}/manifest.json"] if CONFIG.data.path else []


def doubling_on_retry(amount):
    """A resource that doubles at each retry. Equal for all jobs of a rule: a job array has one request for all of them."""

    def resource(wildcards, attempt):
        return amount * 2 ** (attempt - 1)

    return known(resource)


def config_subset(*keys):
    """Parts of the configuration, as plain data."""
    return BriefDict(CONFIG.model_dump(mode="json", include=set(keys)))


def wanted_figures():
    """The figures whose cells the configuration holds."""
    return [f"results/{RUN}/figures/{name}.png" for name in CAPTIONS]


def page_sources():
    """The files of the workflow that a run's page quotes: claims, captions, and the documents of the method."""
    captions = [f"workflow/report/{figure}.rst" for figure in CAPTIONS]
    return [beside(path) for path in ("config/claims.yaml", *captions, *(f"docs/{name}.md" for name in METHOD))]


def evidence_tables():
    """The tables of evidence and of noise, where the configuration asks for them."""
    wanted = {"linear": LINEAR_LABELS, "network_evidence": EVIDENCE_PACKS, "invariance": INVARIANCE_CASE}
    wanted |= {"gradient_noise": CONFIG.noise.seeds, "gradients": CONFIG.noise.seeds}
    wanted |= {"simple_noise": CONFIG.simple_noise.experiments}
    wanted |= {"laplace_vs_ais": CONFIG.network_evidence.laplace_vs_ais, "spectra": SPECTRA_PACKS}
    return [f"results/{RUN}/tables/{name}.csv" for name, asked in wanted.items() if asked]


def claims_tables(wildcards):
    """The tables that claims are judged from, where the configuration asks for them."""
    return [f"results/{RUN}/tables/{name}.csv" for name in ("cells", *ESTIMATED)] + evidence_tables()
