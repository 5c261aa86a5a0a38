"""The benchmark: rows on splits in parallel, kept parts, results, tables and figures, costs."""
