//! replank: online schema change for MySQL.
//!
//! An `ALTER TABLE` on a large table that is in use, without the application waiting, seeing an error
//! or losing a row. A *shadow table* with the new structure is filled in *chunks*; the keys of rows that
//! change meanwhile are taken from the binlog, and those rows are read again; both tables are compared;
//! one atomic rename swaps them. How and why that is right is told in `docs/protocol.md`.
//!
//! # Rooms
//!
//! | module | what it owns |
//! |---|---|
//! | [`cli`] | commands, arguments, exit codes |
//! | [`config`] | who and where the server is |
//! | [`server`] | connections, sessions, faults |
//! | [`schema`] | tables as the server describes them, and the text of ALTER statements |
//! | [`preflight`] | checks before anything is created |
//! | [`plan`] | what corresponds to what in the two tables |
//! | [`key`] | the key of a row as bytes |
//! | [`ledger`] | which change may be replayed, forgotten, or must wait: the core, pure |
//! | [`stream`] | the binlog |
//! | [`copy`], [`replay`], [`verify`], [`cutover`] | the four things that touch the shadow table |
//! | [`run`] | the phases of a run, and who does what in them |
//! | [`progress`] | what a run is doing |
//! | [`throttle`], [`control`], [`hooks`], [`http`] | what holds the copy, and how a run is steered and watched |
//! | [`estimate`] | what a run would take |
//! | [`demo`], [`throwaway`] | a server of its own, a workload with a twin, the proof |

pub mod cleanup;
pub mod cli;
pub mod config;
pub mod conflict;
pub mod control;
pub mod copy;
pub mod cutover;
pub mod demo;
pub mod error;
pub mod estimate;
pub mod hooks;
pub mod http;
pub mod indexes;
pub mod key;
pub mod ledger;
pub mod pace;
pub mod plan;
pub mod preflight;
pub mod progress;
pub mod removal;
pub mod replay;
pub mod run;
pub mod schema;
pub mod scratch;
pub mod server;
pub mod sql;
pub mod state;
pub mod status;
pub mod stream;
pub mod throttle;
pub mod throwaway;
pub mod verify;
pub mod work;
