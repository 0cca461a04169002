"""One straight file a recipe, each with a YAML of the same name."""
