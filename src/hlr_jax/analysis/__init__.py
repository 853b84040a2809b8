"""What a trained model has learned: its memory keys and its relations, as frames; plots and cards of them."""
