"""How a trained model is used: recommendations, explanations, similar items, new users, export."""
