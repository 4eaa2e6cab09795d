//! The ledger's surroundings as a deterministic step machine, for the model checker
//! (`tests/ledger_model.rs`) and for random histories (`tests/ledger_histories.rs`).
//!
//! What runs here is the ledger itself; only the server, the stream and the conductor around it are
//! retold, as small as the protocol allows.

pub(crate) mod bookkeeper;
pub(crate) mod broken;
pub(crate) mod client;
pub(crate) mod server;
pub(crate) mod world;
