"""The measured quantity behind each claim, with its 95 % interval."""
