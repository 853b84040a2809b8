"""From a file, as published or as people have it, to rows: user, item, rating, timestamp, split."""
