"""From a dataset to a judged release: recipes, evaluation, gate."""
