"""A page about trained runs: ``facts`` collects records and frames, ``page`` draws them as HTML."""
