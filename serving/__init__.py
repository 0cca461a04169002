"""The gateway and the engine: speaks OpenAI's API, routes, logs, takes feedback."""
