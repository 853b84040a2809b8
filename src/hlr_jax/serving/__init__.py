"""What people use a trained model for: lists, and the reasons behind them."""
