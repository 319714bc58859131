"""Venue → raw topic: frames are taken in untouched, stamped with their receive time, and handed to Kafka."""
