"""Floor 3. How a model is changed: what learns, at which rate, in which steps, and what is kept."""
