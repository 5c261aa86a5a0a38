"""What `fit` does: vectors to heads, networks under Lightning, the run folder."""
