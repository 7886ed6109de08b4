"""How measurements are kept: three editions of the store, and what goes when it is old."""
