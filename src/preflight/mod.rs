//! Checks before anything is created. One file per subject; each returns what it found, and the run is
//! refused with all findings at once, so that an operator mends them in one go.

mod grants;
mod group;
mod privileges;
mod settings;
mod table;

pub use group::group;
pub use privileges::privileges;
pub use settings::settings;
pub use table::{foreign_keys, structure, triggers, views};

use crate::error::{Error, Result};

/// Something that stands in the way of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What is wrong, with the object's name.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

impl Finding {
    fn new(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        Finding { what: what.into(), remedy: remedy.into() }
    }
}

/// Refuses the run if there are findings.
///
/// # Errors
/// Refused, with every finding and every remedy.
pub fn refuse(findings: Vec<Finding>) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let join = |texts: Vec<String>, separator: &str| texts.join(separator);
    let mut remedies: Vec<String> = Vec::new();
    for finding in &findings {
        if !remedies.contains(&finding.remedy) {
            remedies.push(finding.remedy.clone());
        }
    }
    let what = join(findings.into_iter().map(|finding| finding.what).collect(), "; ");
    Err(Error::refused(what).remedy(join(remedies, " ")))
}
