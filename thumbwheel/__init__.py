"""Thumbwheel's core: what the five packages share, and the only place where they meet."""
