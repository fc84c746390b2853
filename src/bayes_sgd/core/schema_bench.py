"""The tables of the benchmarks and of the faults that were tried, as `schema` has those of a run."""

from __future__ import annotations

from bayes_sgd.core.table import Column, Table

_MACHINE = (
    Column("processor", "text", "Name of the processor."),
    Column("cores", "1", "Cores that the system shows."),
    Column("python", "text", "Version of Python."),
    Column("date_utc", "text", "When it was measured."),
)
_TORCH = Column("torch", "text", "Version of torch.")
_REPEATS = Column("repeats", "1", "Number of trials.")
_NOTE = Column("note", "text", "Why there is no number, or what else is to be known.")
_LOW, _HIGH = Column("low", "as the value", "Smallest trial."), Column("high", "as the value", "Largest trial.")

ENGINE = Table(
    "engine",
    "A row for each training method and problem, a network 784-hidden-10; all on one thread.",
    (
        Column(
            "method",
            "text",
            "`ours`, a rival (dataloader, indexed, compile, vmap, jax), or the `floor` of dense products.",
        ),
        Column("hidden", "text", "Units of each hidden layer."),
        Column("batch_size", "examples", "B."),
        Column("networks", "1", "Replicates; ours, vmap and jax train them in lock-step, the rest one after the other."),
        Column("ms_per_update", "ms", "Time per update of one network, median of the trials."),
        Column("ms_low", "ms", "Fastest trial."),
        Column("ms_high", "ms", "Slowest trial."),
        Column("device", "text", "Where it ran."),
        Column("over_floor", "1", "`ms_per_update` over that of the floor."),
        Column("loss", "nats per example", "Training loss after `checked` updates, the same for all methods."),
        Column("compile_s", "s", "Time to compile, not in `ms_per_update`."),
        Column("updates", "updates", "Updates of a trial."),
        _REPEATS,
        _NOTE,
        Column("checked", "updates", "Updates after which losses are compared."),
        Column("flop_floor_ms", "ms", "Time of the floating-point operations of an update at the machine's rate."),
        Column("byte_floor_ms", "ms", "Time of its memory traffic at the machine's rate."),
        Column("all_pixels_floor_ms", "ms", "The floor of a method that trains the weights of constant-zero inputs too."),
        Column(
            "sparse_floor_ms", "ms", "The floor of a method that skips the zeros of each image, as ours does.", default=None
        ),
        Column("threads", "1", "Threads."),
        Column("n_train", "examples", "N."),
        *_MACHINE,
        _TORCH,
        Column("jax", "text", "Version of jax."),
    ),
)
EVIDENCE = Table(
    "evidence",
    "A row for each method and network 784-H-10: the cost of the evidence at one λ, on one thread.",
    (
        Column("method", "text", "`ours`, the bare `cholesky` factorization, or a library: `laplace`, `curvlinops`."),
        Column("n_train", "examples", "N."),
        Column("hidden", "1", "Units of the hidden layer."),
        Column("parameters", "1", "Number of weights, P."),
        Column("rows", "1", "Rows of the matrix that is factorized."),
        Column("seconds", "s", "Wall-clock time, median of the trials."),
        _LOW,
        _HIGH,
        Column("cpu_seconds", "s", "CPU time, median of the trials."),
        Column("peak_mb", "MB", "Largest memory of a trial."),
        Column("time_ratio", "1", "Time over that of the bare factorization."),
        Column("memory_ratio", "1", "Memory over that of the matrix of N(C − 1) rows."),
        Column("log_determinant", "1", "The result, ln det(I + GGN/λ)."),
        _REPEATS,
        _NOTE,
        *_MACHINE,
        _TORCH,
    ),
)
FIRST_RUN = Table(
    "first_run",
    "A row for each step of a first use from a fresh clone.",
    (
        Column("what", "text", "The step."),
        Column("value", "as `unit`", "What it took."),
        Column("unit", "text", "s or GB."),
        *_MACHINE,
    ),
)
GROWTH = Table(
    "growth",
    "A row for each quantity and setting: how time and memory grow, on one thread.",
    (
        Column("what", "text", "The quantity."),
        Column("setting", "text", "Of what it was measured."),
        Column("value", "as `unit`", "Median of the trials."),
        Column("unit", "text", "ms, s, MB, % or 1/s."),
        _LOW,
        _HIGH,
        _REPEATS,
        Column("series", "text", "The curve of the figure that it belongs to, if to one."),
        Column("x", "of the series", "Its place on the horizontal axis there."),
        *_MACHINE,
        _TORCH,
    ),
)
SLURM = Table(
    "slurm",
    "A row for each way of running the training of one configuration, on one machine.",
    (
        Column(
            "way",
            "text",
            "`local`; `slurm`, the profile as it is; `a pack a job`; or, of an earlier profile, `grouped`: two packs a job.",
        ),
        Column("config", "text", "Name of the run."),
        Column("packs", "1", "Number of training jobs."),
        Column("seconds", "s", "Wall-clock time until all networks are trained, median of the trials."),
        _LOW,
        _HIGH,
        Column("throughput", "1", "Time without SLURM over time with it."),
        Column("overhead_s", "s", "Slot time that a training job takes more than without SLURM."),
        _REPEATS,
        *_MACHINE,
        _TORCH,
    ),
)
FAULTS = Table(
    "faults",
    "A row for each fault that was tried on a real run of a small workflow.",
    (
        Column("fault", "text", "What was broken."),
        Column("moment", "text", "When, or where in the file."),
        Column("seen", "text", "What the user saw."),
        Column("lost", "text", "Finished work that had to be done again."),
        Column("seconds_to_recover", "s", "Wall-clock time from the end of the disturbed command to the finished run."),
        Column("tables_equal", "yes/no", "Whether all tables equal those of an undisturbed run, byte for byte."),
        Column("traceback", "yes/no", "Whether a traceback was shown."),
        Column("orphans", "1", "Processes that were left behind."),
        Column("exit_code", "1", "Exit status of the disturbed command; negative for a signal."),
        Column("last_line", "text", "Last line that it printed."),
        Column("remedy", "text", "What the user was told to do, and did."),
        Column("command", "text", "The disturbed command."),
        Column("where", "text", "`one machine`, or the cluster."),
    ),
)
ADVICE_CHECK = Table(
    "advice_check",
    "A row for each setting: the batch size that `make advise` gives, and what it loses against a full sweep with other seeds.",
    (
        Column("data", "text", "Data set."),
        Column("learning_rate", "1", "ε."),
        Column("momentum", "1", "m."),
        Column("n_train", "examples", "N."),
        Column("batch_size", "examples", "The batch size advised; empty if there is none."),
        Column("low", "examples", "Lower end of its 90 % interval."),
        Column("high", "examples", "Upper end of its 90 % interval."),
        Column("plateau_low", "examples", "The smallest batch size of the plateau; empty where that is sure of none."),
        Column("plateau_high", "examples", "The largest one."),
        Column("by", "text", "`B_fit`: found around a multiple of the smallest batch size that fits; `sweep`: none fits."),
        Column("b_fit", "examples", "The smallest batch size that fits 99 % of the training set."),
        Column("best", "examples", "The best batch size of the full sweep."),
        Column("best_accuracy", "%", "Its mean test accuracy."),
        Column("loss", "points", "That minus the mean test accuracy at the batch size advised."),
        Column("loss_low", "points", "Lower end of the 95 % interval of the loss, by a jackknife over seeds, at least 0."),
        Column("loss_high", "points", "Upper end."),
        Column("held_out_loss", "points", "The loss where the other seeds choose the best batch size for each seed."),
        Column("plateau_loss", "points", "The largest loss of a batch size of the full sweep inside the plateau."),
        Column("within", "yes/no", "Whether the loss is at most 0.3 points."),
        Column("noise_scale", "examples", "The simple noise scale of one run at the batch size advised."),
        Column("seeds", "1", "Seeds of the advice."),
        Column("other_seeds", "1", "Seeds of the full sweep."),
        Column("networks", "1", "Networks trained for the advice."),
        Column("seconds", "s", "Wall-clock time of the advice."),
        Column("cpu_seconds", "s", "CPU time of the advice."),
        *_MACHINE,
        _TORCH,
    ),
)
BENCH = (ENGINE, EVIDENCE, FIRST_RUN, GROWTH, SLURM, FAULTS, ADVICE_CHECK)
