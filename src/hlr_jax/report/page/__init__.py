"""How a report is drawn: HTML and SVG from the facts, escaped by construction."""
