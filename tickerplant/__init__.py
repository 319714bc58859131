"""The frame around producers, processors and sinks: command line, settings, Kafka access, metrics, the local stack."""
