"""Floor 1. Weight files in, weight files out; no model is ever built here."""
