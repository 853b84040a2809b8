"""Colors of all plots and pages. Those of data are Okabe and Ito's, which stay apart for color-blind readers."""

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Blue, orange, green, purple, yellow, light blue, black: of plots on white."""

ON_LIGHT = ("#0072b2", "#c04c00", "#00805c", "#b0457f", "#8a6a00", "#2f87b8", "#1b1f24")
"""The same hues on a light page, darker where a contrast of 3:1 with its backgrounds asks for it."""

ON_DARK = ("#4aa8e8", "#ff8a4c", "#2fc79a", "#e590bf", "#e6b800", "#8fd3f5", "#f2f2f2")
"""The same hues on a dark page, lighter for the same reason."""

GRID = "#dddddd"
MUTED = "#bbbbbb"
"""Of what serves as background to the data: other points, the band of chance."""
NOTE = "#666666"
RULE = "#444444"
"""Of reference lines."""
