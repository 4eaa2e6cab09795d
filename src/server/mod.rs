//! Connections to the MySQL server: how they are opened, how a session is set up, what its errors mean.

mod connect;
mod facts;
mod fault;
mod lock;
mod lost;

pub use connect::{IDLE_SECONDS, RECONNECT_FOR, Server, Session, SessionSettings, back_off};
pub use facts::{ServerFacts, replicas};
pub use fault::{Fault, duplicate_of, fault_of, to_error};
pub use lock::{Owner, PATIENCE, RunLock};
pub use lost::{ConnectionId, end_marked};
