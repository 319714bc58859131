"""`tickerplant report`: one page of a run, without anything that it would have to fetch."""
