"""The Pis: which there are, and the proof that nothing they sent was lost."""
