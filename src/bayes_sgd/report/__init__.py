"""What people read: metrics, summaries, findings, comparison and publication of a run."""
