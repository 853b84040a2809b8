"""What people choose from and read: systems, rows of Table 2, the test. Commands read them first."""

SYSTEMS = ("mf_als", "cml", "lrml", "transcf", "adacml", "hlr", "hlrpp")
"""The systems of the paper's Table 2, in its order."""

POPULARITY = "Popularity"
ROWS = {
    "MAP": "map",
    "MRR": "mrr",
    "NDCG": "ndcg",
    "Precision": "precision",
    "Recall": "recall",
    POPULARITY: "median_popularity",
}
"""The rows of a block, and the metric of each; MAP, MRR and Popularity are what the protocol says."""

TESTED = {row.lower(): row for row in ROWS if row != POPULARITY}
"""The rows that systems can be tested in, by the word of a command line."""

TEST = "paired t-test over users and seeds"
"""What the test of ``significance.paired_difference`` is called."""

SPREADS = ("seeds", "cohorts")
