"""What the outputs of known families of models mean: one module for each kind of family."""
