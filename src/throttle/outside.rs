//! Probes outside the server: a flag file, an HTTP address, the disk.

use std::path::Path;
use std::time::Duration;

use crate::error::{Error, Result};

/// How long an HTTP address may take to answer.
const HTTP_PATIENCE: Duration = Duration::from_secs(2);

/// Why the file holds the copy.
pub(super) fn file(path: &Path) -> Option<String> {
    match path.try_exists() {
        Ok(false) => None,
        Ok(true) => Some(format!("{} exists", path.display())),
        Err(error) => Some(format!("{} cannot be looked at: {error}", path.display())),
    }
}

/// An address that can be asked.
///
/// # Errors
/// Refused when it is none of http or https.
pub(super) fn address(flag: &str, value: &str) -> Result<String> {
    match url::Url::parse(value) {
        Ok(url) if !url.username().is_empty() || url.password().is_some() => {
            Err(Error::refused(format!("{flag} holds a name or a password, which would be shown"))
                .remedy("Give an address that needs none."))
        }
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(value.to_owned()),
        _ => Err(Error::refused(format!("{flag} is not an HTTP address"))
            .remedy("Give it as http://host:port/path.")),
    }
}

/// Asks HTTP addresses.
#[derive(Debug, Clone)]
pub(super) struct Http(ureq::Agent);

impl Http {
    pub(super) fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(HTTP_PATIENCE))
            // The status is what is asked for.
            .http_status_as_error(false)
            // A proxy would answer for the address.
            .proxy(None)
            .build();
        Http(ureq::Agent::new_with_config(config))
    }

    /// Why the address holds the copy.
    pub(super) async fn ask(&self, address: &str) -> Option<String> {
        let (agent, address) = (self.0.clone(), address.to_owned());
        let asked = tokio::task::spawn_blocking(move || match agent.get(&address).call() {
            Ok(answer) if answer.status() == 200 => None,
            Ok(answer) => Some(format!("{address} answers {}", answer.status().as_u16())),
            Err(error) => Some(format!("{address} does not answer: {error}")),
        });
        asked.await.unwrap_or_else(|error| Some(format!("asking failed: {error}")))
    }
}

/// Bytes that are free on the disk which holds this path, for others than root.
///
/// # Errors
/// When it cannot be looked at.
pub fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Why the disk holds the copy.
pub(super) fn disk(path: &Path, least: u64) -> Option<String> {
    match free_bytes(path) {
        Ok(free) if free >= least => None,
        Ok(free) => Some(format!(
            "{} MiB are free at {}, less than {} MiB",
            free >> 20,
            path.display(),
            least >> 20
        )),
        Err(error) => Some(format!("the disk at {} cannot be looked at: {error}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_file_holds_while_it_exists() {
        let folder = tempfile::tempdir().expect("a folder");
        let flag = folder.path().join("hold");
        assert_eq!(file(&flag), None);
        std::fs::write(&flag, "").expect("a file");
        assert!(file(&flag).expect("it holds").ends_with("hold exists"));
        assert!(file(&flag.join("below")).is_some(), "what cannot be looked at holds");
    }

    #[test]
    fn a_disk_is_too_full_or_not() {
        assert_eq!(disk(Path::new("/"), 0), None);
        assert!(disk(Path::new("/"), u64::MAX).expect("too full").contains("are free at /"));
        assert!(disk(Path::new("/nowhere/at/all"), 0).is_some());
    }
}
