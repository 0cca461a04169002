"""From events to datasets: the consumer and the curator."""
