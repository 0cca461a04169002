"""A fictional shop's help desk that plays against the service as an outside client."""
