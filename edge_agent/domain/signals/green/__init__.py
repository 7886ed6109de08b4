"""Green times: which stage is wanted next."""
