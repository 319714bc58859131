"""Sinks as Kafka Connect knows them: its words in the settings, its REST API, and what steers them."""
