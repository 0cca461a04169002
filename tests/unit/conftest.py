"""Property tests have no deadline: how long one example takes says how busy the machine is, and nothing else."""

from hypothesis import settings

settings.register_profile("busy machine", deadline=None)
settings.load_profile("busy machine")
