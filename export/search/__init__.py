"""Which nodes must stay float for a budget of quality."""
