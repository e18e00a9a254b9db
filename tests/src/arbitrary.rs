//! Arbitrary requests, for property tests.
