"""Runs: a config, the folder that a run writes, and what is done with both."""
