"""The tables of a run that is repeated: with other seeds, with another rounding of the same seeds, or on half of its seeds."""

from __future__ import annotations

from bayes_sgd.core.table import Column, Table

_CLAIM = Column("claim", "text", "Number of the claim.")
_KIND = Column(
    "kind",
    "text",
    "`seeds`: disjoint sets of seeds; `rounding`: the seeds of the first replicate with other instructions or threads; "
    "`halves`: each half of a run's seeds.",
)

REPLICATION = Table(
    "replication",
    "A row for each claim and replicate; the first replicate counts as one of `rounding` too.",
    (
        _CLAIM,
        Column("replicate", "text", "Name of the run, a folder under results/."),
        _KIND,
        Column("value", "of the claim", "The measured value."),
        Column("low", "as the value", "Lower end of the 95 % interval."),
        Column("high", "as the value", "Upper end of the 95 % interval."),
        Column("verdict", "text", "Verdict on the claim."),
    ),
)
REPLICATION_SUMMARY = Table(
    "replication_summary",
    "A row for each claim and kind, and one of all claims (`all`): how far replicates agree.",
    (
        _CLAIM,
        _KIND,
        Column("replicates", "1", "Number of replicates that have a value."),
        Column("value", "of the claim", "Median over replicates."),
        Column("spread", "as the value", "Standard deviation between replicates."),
        Column("half_width", "as the value", "Half the width of a replicate's own interval, the median."),
        Column(
            "spread_ratio",
            "1",
            "1.96 `spread` over `half_width`, of `all` the median: above 1, intervals are narrower than replicates scatter.",
        ),
        Column("pairs", "1", "Number of pairs of replicates that both have an interval."),
        Column("apart", "fraction", "Share of these pairs whose intervals do not meet."),
        Column("same_verdict", "fraction", "Share of pairs with the same verdict, of a claim that has a limit."),
        Column("opposite", "fraction", "Share of pairs of which one reproduces the claim and the other does not."),
        Column(
            "verdicts", "text", "How many replicates have which verdict; of `all`, claims with one verdict in all replicates."
        ),
    ),
)
REPLICATION_TRANSITIONS = Table(
    "replication_transitions",
    "A row for each kind and pair of verdicts: how often two replicates judge a claim so.",
    (
        _KIND,
        Column("verdict", "text", "The verdict of one replicate."),
        Column("other", "text", "That of the other, the same or one that comes later in the order of verdicts."),
        Column("pairs", "1", "Number of pairs, over all claims that have a limit."),
    ),
)
DIGITS = Table(
    "digits",
    "A row for each table and column of floating-point numbers: how far a run and its roundings agree.",
    (
        Column("table", "text", "Name of the table."),
        Column("column", "text", "Name of the column."),
        Column("runs", "1", "Number of roundings that were compared with the run."),
        Column("values", "1", "Number of values of the run."),
        Column("equal", "fraction", "Share of values that are equal in all bits."),
        Column("median_difference", "1", "Median relative difference, of the rounding for which it is largest."),
        Column(
            "largest_difference", "1", "Largest relative difference; of values below 1e-12 of the largest, relative to that."
        ),
        Column("digits", "1", "Decimal digits that all values share, from the largest difference; 16 at most."),
    ),
)
REPEATED = (REPLICATION, REPLICATION_SUMMARY, REPLICATION_TRANSITIONS, DIGITS)
