//! The harness of the end-to-end tests and of `scripts/run`.
