"""Colors of all plots, pages and pictures: the hues of Okabe and Ito, which color-blind readers can tell apart."""

ON_LIGHT = ("#0072b2", "#c04c00", "#00805c", "#b0457f", "#8a6a00", "#2f87b8", "#1b1f24")
"""Blue, orange, green, purple, yellow, light blue, black: on white, with a contrast of 3:1 or more."""

ON_DARK = ("#4aa8e8", "#ff8a4c", "#2fc79a", "#e590bf", "#e6b800", "#8fd3f5", "#f2f2f2")
"""The same hues on a dark page."""

GRID = "#dddddd"
MUTED = "#bbbbbb"
"""What serves as background to the data: other points, the band of chance."""
NOTE = "#666666"
RULE = "#444444"
"""Reference lines."""
