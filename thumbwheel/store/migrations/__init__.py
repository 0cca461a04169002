"""How a store of an earlier schema becomes one of the present; run by `thumbwheel.store.migrate`, forward only."""
