"""Execution: how the draws of one call are run. The loop is the reference."""
