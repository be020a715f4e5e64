"""Floor 1. A conversation in, token ids and labels out. Text only."""
