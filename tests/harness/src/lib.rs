//! Real servers for tests: Kafka and S3, from package registries, or the user's own.
