"""Orders to the lights that come from the collector: fetched, given once, and told what became of them."""
