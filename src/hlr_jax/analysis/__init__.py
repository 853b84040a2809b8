"""Analysis of a trained model: its memory keys and its relations as frames, plots and cards."""
