"""What flows: records, Avro schemas, wire codec, topic catalogue and symbology. Imports nothing of ours."""
