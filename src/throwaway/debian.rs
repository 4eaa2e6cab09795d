//! Debian's mysqld without installing it: fetched by apt, unpacked into the cache, run in place.
//!
//! apt runs with the machine's own configuration, because that may hold a proxy and settings without
//! which the mirror cannot be read. Read after it, a configuration of ours moves everything that apt
//! would write (lists, archives, locks) and the package database into the cache folder, and clears
//! the hooks, which would act on the machine. So it needs no root, disturbs no other apt, and, with
//! an empty package database, fetches every dependency down to the C library.
//!
//! The unpacked server is then run by the unpacked dynamic loader with the unpacked libraries: a
//! newer C library than the machine's is no obstacle.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tracing::info;

use super::find::Mysqld;
use super::sources::{self, Mirror};
use super::{cache, process};
use crate::error::{Error, Result};

/// The suite that carries MySQL; Debian's stable releases have MariaDB only.
const SUITE: &str = "sid";
const PACKAGE: &str = "mysql-server-core";

/// Debian's name for this machine's architecture, and the name of its folder of libraries.
fn architecture() -> Result<(&'static str, &'static str)> {
    match std::env::consts::ARCH {
        "x86_64" => Ok(("amd64", "x86_64-linux-gnu")),
        "aarch64" => Ok(("arm64", "aarch64-linux-gnu")),
        other => Err(impossible(format!("Debian's MySQL is not fetched for {other}"))),
    }
}

/// An error that says how to do without Debian's packages.
fn impossible(what: impl Into<String>) -> Error {
    Error::refused(what).remedy(
        "install MySQL 8.0.13 or later, or point REPLANK_MYSQLD at its mysqld; \
         Debian's packages are used where there is neither",
    )
}

/// Debian's mysqld, fetched into the cache folder unless it is there already.
///
/// A cached server is used until its folder is deleted; nothing looks for a newer one.
///
/// # Errors
/// Refused if apt is absent or cannot fetch the packages, or the cache folder cannot be written.
pub(super) fn mysqld() -> Result<Mysqld> {
    let (architecture, libraries) = architecture()?;
    let name = format!("debian-{SUITE}-{architecture}");
    let folder = cache::get_or_make(&cache::dir()?, &name, |partial| {
        fetch(partial, architecture)?;
        let mysqld = in_tree(&partial.join("root"), libraries)?;
        info!("MySQL {} is ready in the cache", mysqld.version());
        Ok(())
    })?;
    let root = folder.join("root");
    leave_components_to_data_directories(&root).map_err(|e| cache::unwritable(&root, e))?;
    in_tree(&root, libraries)
}

/// Lets each server take what to load of keyring components from its own data directory, where
/// there is nothing unless somebody puts it there (manual, "Keyring Component Installation").
fn leave_components_to_data_directories(root: &Path) -> io::Result<()> {
    for (path, text) in [
        ("usr/sbin/mysqld.my", r#"{"read_local_manifest": true}"#),
        ("usr/lib/mysql/plugin/component_keyring_file.cnf", r#"{"read_local_config": true}"#),
    ] {
        let path = root.join(path);
        if !path.exists() {
            fs::write(path, text)?;
        }
    }
    Ok(())
}

/// The server in an unpacked tree.
fn in_tree(root: &Path, libraries: &str) -> Result<Mysqld> {
    let libraries = root.join("usr/lib").join(libraries);
    let loader = loader_in(&libraries).map_err(|e| cache::unwritable(&libraries, e))?;
    let launcher = vec![loader.into(), "--library-path".into(), libraries.into()];
    let share = root.join("usr/share/mysql");
    let arguments = vec![
        option("--basedir=", &root.join("usr")),
        option("--lc-messages-dir=", &share),
        option("--character-sets-dir=", &share.join("charsets")),
        option("--plugin-dir=", &root.join("usr/lib/mysql/plugin")),
    ];
    Mysqld::probe(root.join("usr/sbin/mysqld"), launcher, arguments)
        .map_err(|e| e.remedy(format!("delete {} so that it is fetched again", root.display())))
}

/// `ld-linux-x86-64.so.2` on amd64, `ld-linux-aarch64.so.1` on arm64.
fn loader_in(libraries: &Path) -> io::Result<PathBuf> {
    for entry in fs::read_dir(libraries)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with("ld-linux-") {
            return Ok(entry.path());
        }
    }
    Err(io::Error::new(io::ErrorKind::NotFound, "there is no dynamic loader"))
}

fn option(name: &str, path: &Path) -> OsString {
    let mut option = OsString::from(name);
    option.push(path);
    option
}

/// Fills `folder` with `root`, the unpacked tree of [`PACKAGE`] and all its dependencies.
fn fetch(folder: &Path, architecture: &str) -> Result<()> {
    let apt = folder.join("apt");
    let written = |path: &Path, result: io::Result<()>| {
        result.map_err(|error| cache::unwritable(path, error))
    };
    for name in ["sources", "state/lists/partial", "cache/archives/partial"] {
        let path = apt.join(name);
        written(&path, fs::create_dir_all(&path))?;
    }
    let root = folder.join("root");
    written(&root, fs::create_dir(&root))?;

    let mirror = machine_mirror();
    let configuration = apt.join("apt.conf");
    let as_root = folder.metadata().is_ok_and(|owner| owner.uid() == 0);
    for (path, text) in [
        (apt.join("state/status"), String::new()),
        (apt.join("sources/debian.sources"), mirror.source(SUITE, architecture)),
        (configuration.clone(), apt_configuration(&apt, as_root)?),
    ] {
        written(&path, fs::write(&path, text))?;
    }

    info!("no MySQL server on this machine: fetching {PACKAGE} of Debian {SUITE} into the cache");
    info!("reading the package index of {}", mirror.uri);
    run(apt_get(&configuration).arg("update"))?;
    info!("downloading {PACKAGE} and its dependencies");
    let install = ["install", "--yes", "--download-only", "--no-install-recommends", PACKAGE];
    run(apt_get(&configuration).args(install))?;

    let archives = packages(&apt.join("cache/archives"))?;
    info!("unpacking {} packages", archives.len());
    for archive in archives {
        run(Command::new("dpkg-deb").arg("-x").arg(&archive).arg(&root))?;
    }
    written(&apt, fs::remove_dir_all(&apt))
}

fn packages(archives: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| cache::unwritable(archives, error);
    let mut packages = Vec::new();
    for entry in fs::read_dir(archives).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "deb") {
            packages.push(path);
        }
    }
    Ok(packages)
}

/// The first Debian archive among the machine's own sources, with the way it is trusted.
fn machine_mirror() -> Mirror {
    let mut files = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(parts) = fs::read_dir("/etc/apt/sources.list.d") {
        files.extend(parts.flatten().map(|part| part.path()));
    }
    files[1..].sort();
    let found = files.iter().find_map(|file| {
        let text = fs::read_to_string(file).ok()?;
        match file.extension()?.to_str()? {
            "list" => sources::in_list(&text),
            "sources" => sources::in_deb822(&text),
            _ => None,
        }
    });
    let keyring = ["gpg", "pgp"]
        .map(|extension| format!("/usr/share/keyrings/debian-archive-keyring.{extension}"))
        .into_iter()
        .find(|path| Path::new(path).exists());
    found.unwrap_or_else(Mirror::canonical).signed_by_default(keyring.as_deref())
}

/// What is read after the machine's configuration: everything that apt writes goes into `apt`.
///
/// # Errors
/// Refused if the path cannot be written in apt's syntax, which knows no escapes.
fn apt_configuration(apt: &Path, as_root: bool) -> Result<String> {
    let Some(apt) = apt.to_str().filter(|path| !path.contains(['"', '\n', '\\'])) else {
        return Err(Error::refused(format!("apt cannot use the folder {}", apt.display()))
            .remedy("set REPLANK_CACHE to a folder with a plain name"));
    };
    let mut text = String::new();
    for hook in [
        "APT::Update::Pre-Invoke",
        "APT::Update::Post-Invoke",
        "APT::Update::Post-Invoke-Success",
        "AptCli::Hooks",
        "DPkg::Pre-Invoke",
        "DPkg::Post-Invoke",
        "DPkg::Pre-Install-Pkgs",
    ] {
        text.push_str(&format!("#clear {hook};\n"));
    }
    text.push_str(&format!(
        "Dir::Etc::sourcelist \"/dev/null\";\n\
         Dir::Etc::sourceparts \"{apt}/sources\";\n\
         Dir::Etc::preferences \"/dev/null\";\n\
         Dir::Etc::preferencesparts \"/dev/null\";\n\
         Dir::State \"{apt}/state\";\n\
         Dir::State::lists \"lists/\";\n\
         Dir::State::status \"{apt}/state/status\";\n\
         Dir::State::extended_states \"extended_states\";\n\
         Dir::Cache \"{apt}/cache\";\n\
         Dir::Cache::archives \"archives/\";\n\
         APT::Default-Release \"\";\n\
         APT::Update::Error-Mode \"any\";\n\
         Acquire::Retries \"3\";\n",
    ));
    if as_root {
        // apt's own download user could not enter a cache folder in root's home.
        text.push_str("APT::Sandbox::User \"root\";\n");
    }
    Ok(text)
}

fn apt_get(configuration: &Path) -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q").arg("-c").arg(configuration).env("LC_ALL", "C");
    command
}

/// Runs a command of the package tools to its end.
///
/// # Errors
/// Refused, with the last lines that it wrote, if it cannot be run or fails.
fn run(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = process::die_with_this_thread(command)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| impossible(format!("{name} cannot be run")).caused_by(e))?;
    if output.status.success() {
        return Ok(());
    }
    let said = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    let lines: Vec<&str> = said.lines().collect();
    let tail = lines[lines.len().saturating_sub(10)..].join("\n");
    Err(impossible(format!("{name} ended with {}:\n{tail}", output.status)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn apt_writes_into_the_given_folder_and_runs_no_hook() {
        let text = apt_configuration(Path::new("/a b/apt"), false).unwrap();
        for line in text.lines() {
            let allowed = line.starts_with("#clear ")
                || line.contains("\"/a b/apt/")
                || line.contains("\"/dev/null\"")
                || !line.contains("\"/");
            assert!(allowed, "{line}");
        }
        assert!(text.contains("#clear DPkg::Post-Invoke;"));
        assert!(!text.contains("Sandbox"));
        assert!(
            apt_configuration(Path::new("/a"), true).unwrap().contains("Sandbox::User \"root\"")
        );
    }

    #[test]
    fn a_folder_that_apt_cannot_spell_is_refused_before_it_is_run() {
        let error = apt_configuration(Path::new("/a\"; x"), false).unwrap_err();
        assert!(error.next_step().unwrap().contains("REPLANK_CACHE"));
    }

    #[test]
    fn a_missing_tool_says_how_to_do_without_it() {
        let error = run(&mut Command::new("replank-no-such-tool")).unwrap_err();
        assert!(error.what().contains("replank-no-such-tool cannot be run"));
        assert!(error.next_step().unwrap().contains("REPLANK_MYSQLD"));
    }

    #[test]
    fn a_failing_tool_is_quoted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo E: no such package >&2; exit 100"]);
        let error = run(&mut command).unwrap_err();
        assert!(error.what().contains("exit status: 100:\nE: no such package"), "{error}");
    }
}
