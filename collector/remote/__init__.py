"""Orders to the lights of a junction: how they reach its Pi, and what becomes of them."""
