"""Names of systems, rows of Table 2, and the test. Commands import this first, so it is cheap to import."""

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
"""The rows of a block, and the metric of each; the protocol defines MAP, MRR and Popularity."""

TESTED = {row.lower(): row for row in ROWS if row != POPULARITY}
"""The rows in which systems can be tested, by their command-line name."""

TEST = "paired t-test over users and seeds"
"""Name of the test in ``significance.paired_difference``."""

SPREADS = ("seeds", "cohorts")
