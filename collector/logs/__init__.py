"""What devices, people and programs have to say: one log for all."""
