//! Tests of the resume store.
