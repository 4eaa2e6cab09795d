//! What a table is, and what SQL text says about it.
//!
//! MySQL itself judges SQL: an ALTER is run as given on the shadow table, and the result is read
//! back from information_schema. The text is read here only for what the server cannot tell
//! afterwards: which column was renamed to which, and which statements in the binary log touch
//! the source table.

pub mod alter;
pub mod checks;
pub mod indexes;
pub mod lexer;
pub mod mention;
pub mod table;
