"""The store: every row that Thumbwheel keeps, behind functions that take a transaction and write what they are given.

A write that changes what a gateway must know bumps `generation` in the same transaction; gateways poll that one number.
"""
