"""Moves runs and rollouts; starts, watches and stops the processes."""
