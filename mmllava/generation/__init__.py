"""Floor 3. How new ids are produced, one at a time."""
