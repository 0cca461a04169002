"""Compression: merge, quantize, export, verify. Nothing is here yet; a channel's `compression` is `none`."""
