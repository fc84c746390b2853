"""Small data for all tests of the trainer."""

from training import data

__all__ = ["data"]
