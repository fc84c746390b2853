"""Data sets and labellings: read, checked, prepared once."""
