"""Floor 3. A model is changed by data."""
