//! The one error type of replank, and what each kind promises about the tables.
//!
//! An error that reaches an operator has to answer three questions: what happened to which object,
//! in what state the tables are now, and what to do next. [`Kind`] answers the second by
//! construction, `what` the first, `remedy` the third.

use std::fmt;

/// What an error promises about the tables, and therefore whether it may be retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Nothing was created or changed on the server: a check said no, or the arguments were wrong.
    Refused,
    /// A passing condition (deadlock, lock wait timeout, lost connection); the statement is retried.
    Transient,
    /// The migration ended; the source table is untouched and still serves the application.
    Failed,
    /// It is not known whether a statement took effect. Never retried.
    Ambiguous,
    /// The operator asked to stop.
    Interrupted,
}

impl Kind {
    /// The process exit code of a command that ends with this kind of error.
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Transient | Kind::Failed => 1,
            Kind::Refused => 2,
            Kind::Ambiguous => 3,
            Kind::Interrupted => 130,
        }
    }

    /// The state of the tables, in a sentence for the operator.
    pub fn state(self) -> &'static str {
        match self {
            Kind::Refused => "Nothing was created or changed on the server.",
            Kind::Transient | Kind::Failed => {
                "The source table is untouched and still serves the application."
            }
            Kind::Ambiguous => "It is not known whether the swap took effect.",
            Kind::Interrupted => "Stopped on request; the source table is untouched.",
        }
    }
}

/// An error with its kind, the object it happened to, and the next step for the operator.
#[derive(Debug)]
pub struct Error {
    kind: Kind,
    what: String,
    remedy: Option<String>,
    keeps_progress: bool,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// The result of everything in replank that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of `kind`; `what` names the object and says what happened to it.
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Error { kind, what: what.into(), remedy: None, keeps_progress: false, source: None }
    }

    /// Nothing was touched: see [`Kind::Refused`].
    pub fn refused(what: impl Into<String>) -> Self {
        Error::new(Kind::Refused, what)
    }

    /// May be retried: see [`Kind::Transient`].
    pub fn transient(what: impl Into<String>) -> Self {
        Error::new(Kind::Transient, what)
    }

    /// Ended with the source untouched: see [`Kind::Failed`].
    pub fn failed(what: impl Into<String>) -> Self {
        Error::new(Kind::Failed, what)
    }

    /// Outcome unknown: see [`Kind::Ambiguous`].
    pub fn ambiguous(what: impl Into<String>) -> Self {
        Error::new(Kind::Ambiguous, what)
    }

    /// Says what the operator should do next, in the imperative.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    /// Marks an error after which the run can be continued, or is being continued by another process: so
    /// what it has created must stay.
    #[must_use]
    pub fn keeping_progress(mut self) -> Self {
        self.keeps_progress = true;
        self
    }

    /// Attaches the underlying error.
    #[must_use]
    pub fn caused_by(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same error as another kind, for a caller that knows more about the state of the tables.
    #[must_use]
    pub fn into_kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Prefixes `what` with the step that was under way.
    #[must_use]
    pub fn during(mut self, step: impl fmt::Display) -> Self {
        self.what = format!("{step}: {}", self.what);
        self
    }

    /// The kind of this error.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What happened to which object.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Whether what the run has created must stay: see [`keeping_progress`](Self::keeping_progress).
    pub fn keeps_progress(&self) -> bool {
        self.keeps_progress
    }

    /// What to do next, where there is something to do.
    pub fn next_step(&self) -> Option<&str> {
        self.remedy.as_deref()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)?;
        let mut cause = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

// `source` is part of the Display text already, so it is not offered again through `source()`:
// a reporter that walks the chain would print it twice.
impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_joins_the_chain_of_causes() {
        let error = Error::failed("chunk 7 of shop.users")
            .caused_by(std::io::Error::other("connection reset"));
        assert_eq!(error.to_string(), "chunk 7 of shop.users: connection reset");
    }

    #[test]
    fn every_kind_has_its_documented_exit_code() {
        let codes =
            [Kind::Failed, Kind::Refused, Kind::Ambiguous, Kind::Interrupted].map(Kind::exit_code);
        assert_eq!(codes, [1, 2, 3, 130]);
    }
}
