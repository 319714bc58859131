"""Raw topic → cleaned topics: parse, dedupe, keep books, flag. Output is a pure function of the raw log."""
