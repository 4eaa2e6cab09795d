//! Finding a mysqld that can be run: the caller's, the environment's, the `PATH`'s, or Debian's.
//!
//! MariaDB installs its server under the name mysqld too, so a name proves nothing: every candidate
//! is asked for its version. One that somebody chose (an explicit path, `REPLANK_MYSQLD`) and that
//! will not do is an error, since running another in its place would answer a different question.
//! One that merely lies in the `PATH` is passed over, and the log says why.

use std::ffi::OsString;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tracing::info;

use super::debian;
use crate::error::{Error, Result};

/// The environment variable that names the mysqld to run.
const VARIABLE: &str = "REPLANK_MYSQLD";

/// The oldest server that replank supports: the first that can rename tables under LOCK TABLES.
const OLDEST: [u32; 3] = [8, 0, 13];

/// A mysqld that ran and is new enough.
#[derive(Debug, Clone)]
pub(super) struct Mysqld {
    /// The server's own file.
    binary: PathBuf,
    /// What stands before the binary on the command line: a dynamic loader and its arguments.
    launcher: Vec<OsString>,
    /// What it needs to find its files, where they are not in their usual places.
    arguments: Vec<OsString>,
    /// As in `SELECT VERSION()`, without suffixes that options add; for example `9.7.4-2`.
    version: String,
}

impl Mysqld {
    /// Asks `binary` for its version.
    ///
    /// # Errors
    /// Refused if it does not run, is no MySQL, or is too old.
    pub(super) fn probe(
        binary: PathBuf,
        launcher: Vec<OsString>,
        arguments: Vec<OsString>,
    ) -> Result<Mysqld> {
        let mut mysqld = Mysqld { binary, launcher, arguments, version: String::new() };
        let unfit = |why: &str| Error::refused(format!("{}: {why}", mysqld.binary.display()));
        let output = mysqld
            .command()
            .arg("--version")
            .output()
            .map_err(|e| unfit("cannot be run").caused_by(e))?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(unfit(&format!("ended with {}: {}", output.status, said.trim())));
        }
        let said = String::from_utf8_lossy(&output.stdout);
        mysqld.version = version_in(&said).map_err(|why| unfit(&why))?;
        Ok(mysqld)
    }

    /// A command for this server, to which the caller adds options.
    pub(super) fn command(&self) -> Command {
        let mut command = match self.launcher.split_first() {
            Some((loader, before)) => {
                let mut command = Command::new(loader);
                command.args(before).arg(&self.binary);
                command
            }
            None => Command::new(&self.binary),
        };
        // --no-defaults counts only as the first option.
        command.arg("--no-defaults").args(&self.arguments).stdin(Stdio::null());
        command
    }

    /// The version, as in `SELECT VERSION()`.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// A name for this very build of the server: it changes when the file is replaced.
    pub(super) fn fingerprint(&self) -> String {
        let mut hasher = DefaultHasher::new();
        self.binary.hash(&mut hasher);
        if let Ok(file) = self.binary.metadata() {
            (file.len(), file.mtime(), file.mtime_nsec()).hash(&mut hasher);
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || ".-+".contains(c);
        let version: String = self.version.chars().filter(|c| plain(*c)).collect();
        format!("{version}-{:016x}", hasher.finish())
    }
}

/// The first mysqld that will do, in the order of the module's description.
///
/// Blocks: for a fraction of a second per candidate, for longer when packages are fetched.
///
/// # Errors
/// Refused if a chosen mysqld will not do, or there is none and Debian's cannot be had.
pub(super) fn locate(explicit: Option<&Path>) -> Result<Mysqld> {
    if let Some(path) = explicit {
        return Mysqld::probe(path.to_owned(), Vec::new(), Vec::new())
            .map_err(|e| e.remedy("give the path of a mysqld of MySQL 8.0.13 or later"));
    }
    if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
        return Mysqld::probe(path.into(), Vec::new(), Vec::new()).map_err(|e| {
            e.during(VARIABLE)
                .remedy(format!("point {VARIABLE} at a mysqld of MySQL 8.0.13 or later"))
        });
    }
    for candidate in candidates(std::env::var_os("PATH")) {
        match Mysqld::probe(candidate, Vec::new(), Vec::new()) {
            Ok(mysqld) => return Ok(mysqld),
            Err(why) => info!("passed over: {why}"),
        }
    }
    debian::mysqld()
}

/// The files named mysqld in `path`, and the one in /usr/sbin, which is often not in the `PATH` of
/// an ordinary user.
fn candidates(path: Option<OsString>) -> Vec<PathBuf> {
    let path = path.unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]) {
        let candidate = folder.join("mysqld");
        if folder.is_absolute() && candidate.is_file() && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

/// The version in the output of `mysqld --version`, or why that server will not do.
fn version_in(output: &str) -> Result<String, String> {
    let mut words = output.split_whitespace().skip_while(|word| *word != "Ver").skip(1);
    let Some(version) = words.next() else {
        return Err(format!("does not say its version, but {:?}", output.trim()));
    };
    if output.contains("MariaDB") {
        return Err(format!("is MariaDB ({version}), not MySQL"));
    }
    let mut numbers = version.split(|c: char| !c.is_ascii_digit()).map(str::parse::<u32>);
    let mut number = || numbers.next().and_then(Result::ok);
    match (number(), number(), number()) {
        (Some(major), Some(minor), Some(patch)) if [major, minor, patch] >= OLDEST => {
            Ok(version.to_owned())
        }
        (Some(_), Some(_), Some(_)) => {
            Err(format!("is MySQL {version}, older than 8.0.13, the oldest that is supported"))
        }
        _ => Err(format!("has a version that cannot be read: {version:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mysql_is_taken_whoever_built_it() {
        for (output, version) in [
            ("/usr/sbin/mysqld  Ver 9.7.4-2 for Linux on x86_64 ((Debian))", "9.7.4-2"),
            (
                "mysqld  Ver 8.0.13 for linux-glibc2.12 on x86_64 (MySQL Community Server - GPL)\n",
                "8.0.13",
            ),
            (
                "mysqld  Ver 8.4.5-5 for Linux on aarch64 (Percona Server (GPL), Release 5)",
                "8.4.5-5",
            ),
        ] {
            assert_eq!(version_in(output).as_deref(), Ok(version));
        }
    }

    #[test]
    fn mariadb_old_servers_and_strangers_are_turned_away_with_the_reason() {
        for (output, reason) in [
            (
                "mysqld  Ver 10.11.6-MariaDB-0+deb12u1 for debian-linux-gnu on x86_64 (Debian 12)",
                "MariaDB",
            ),
            ("mysqld  Ver 5.7.44 for Linux on x86_64 (MySQL Community Server (GPL))", "older than"),
            ("mysqld  Ver 8.0.12 for Linux on x86_64 (MySQL Community Server - GPL)", "older than"),
            ("mysqld  Ver trunk for Linux", "cannot be read"),
            ("hello\n", "does not say"),
        ] {
            let why = version_in(output).unwrap_err();
            assert!(why.contains(reason), "{output}: {why}");
        }
    }

    /// A program that says something. It is written by another process, because a file that is open
    /// for writing cannot be run, and a test that forks meanwhile would hold it open.
    fn script(folder: &Path, says: &str) -> PathBuf {
        let path = folder.join("mysqld");
        let write = "printf \"#!/bin/sh\\necho '%s'\\n\" \"$2\" > \"$1\" && chmod 755 \"$1\"";
        let mut shell = Command::new("sh");
        shell.args(["-c", write, "sh"]).arg(&path).arg(says);
        assert!(shell.status().unwrap().success());
        path
    }

    #[test]
    fn every_mysqld_in_the_path_is_a_candidate_in_its_order() {
        let [first, empty, second] = [(); 3].map(|()| tempfile::tempdir().unwrap());
        let one = script(first.path(), "");
        let two = script(second.path(), "");
        let folders = [first.path(), empty.path(), second.path(), first.path()];
        let found = candidates(Some(std::env::join_paths(folders).unwrap()));
        assert_eq!(found[..2], [one, two]);
        assert!(found[2..].iter().all(|other| other == Path::new("/usr/sbin/mysqld")));
    }

    #[test]
    fn a_mysqld_that_the_caller_chose_is_never_exchanged_for_another() {
        let folder = tempfile::tempdir().unwrap();
        let mariadb = script(folder.path(), "mysqld  Ver 10.11.6-MariaDB for Linux on x86_64");
        let error = locate(Some(&mariadb)).unwrap_err();
        assert!(error.what().contains("is MariaDB (10.11.6-MariaDB)"), "{error}");
        let missing = locate(Some(&folder.path().join("absent"))).unwrap_err();
        assert!(missing.to_string().contains("cannot be run: No such file"), "{missing}");
    }

    #[test]
    fn the_fingerprint_changes_when_the_server_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let says = "mysqld  Ver 9.7.4-2 for Linux on x86_64";
        let old = Mysqld::probe(script(folder.path(), says), Vec::new(), Vec::new()).unwrap();
        let before = old.fingerprint();
        assert!(before.starts_with("9.7.4-2-"), "{before}");
        assert_eq!(before, old.fingerprint());
        script(folder.path(), "mysqld  Ver 9.7.4-2 for Linux on x86_64, rebuilt");
        assert_ne!(before, old.fingerprint());
    }
}
