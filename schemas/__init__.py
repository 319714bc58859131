"""What flows: records, their Avro schemas, the wire codec, the topic catalogue and symbology. Imports nothing of ours."""
