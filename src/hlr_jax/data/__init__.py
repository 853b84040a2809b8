"""From files, or from nothing, to prepared interactions and samples of them."""
