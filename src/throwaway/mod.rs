//! A MySQL server that lives as long as a value: for the demo, the tests and the benches.
//!
//! [`ThrowawayServer::builder`] finds a mysqld (the caller's path, `REPLANK_MYSQLD`, the `PATH`, and
//! at last Debian's own packages unpacked into a cache folder), starts it on an empty data directory
//! and a free port of 127.0.0.1, and takes both away again.
//!
//! Two promises, and why they hold:
//!
//! - **The server never outlives its owner.** Dropping the handle kills and reaps it. Where the
//!   owner itself is killed, the kernel kills the server: see `process.rs`.
//! - **Nothing of the machine is changed.** No package is installed, no service is started, no file
//!   is written outside the cache folder and the temporary folder: apt is run with state, cache and
//!   package database of its own (see `debian.rs`), mysqld with `--no-defaults`. The data directory
//!   goes with the handle; one that a killed owner left behind is removed by the next start (see
//!   `home.rs`).

mod cache;
mod debian;
mod find;
mod home;
mod process;
mod server;
mod sources;

pub use server::{ThrowawayServer, ThrowawayServerBuilder};
