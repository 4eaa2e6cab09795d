//! The key of a row and the decoder of row events against a real server, which is the oracle: its
//! index order, its equality, its EXPLAIN, its binlog.
#![allow(clippy::unwrap_used, reason = "a helper of a test fails the test")]

#[path = "../common/mod.rs"]
mod common;

mod cases;
mod collations;
mod images;
mod server;
mod types;
