"""A synthetic world whose truth is known: prompts, responses of every quality, and their scores."""
