"""Where personal data and secrets stand in a text: one module a family, each a pure function from a view to spans."""
