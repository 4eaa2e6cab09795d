//! The cache folder: things that take long to make, made once per machine and user.
//!
//! A folder in the cache is complete or absent, whoever looks and whenever: it is made under another
//! name by the one process that holds its lock, flushed to the disk, and then renamed, which is
//! atomic. A maker that dies loses the lock with its life, and the next one starts from nothing.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use tracing::info;

use crate::error::{Error, Result};

/// The cache folder: `$REPLANK_CACHE`, else `$XDG_CACHE_HOME/replank`, else `~/.cache/replank`.
pub(super) fn dir() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name);
    choose(variable("REPLANK_CACHE"), variable("XDG_CACHE_HOME"), variable("HOME"))
        .and_then(|chosen| std::path::absolute(chosen).ok())
        .ok_or_else(|| {
            Error::refused("there is no cache folder: REPLANK_CACHE and HOME are not set")
                .remedy("set REPLANK_CACHE to a folder that can be written")
        })
}

/// An empty variable counts as absent; so does a relative `XDG_CACHE_HOME`, as its specification
/// demands.
fn choose(own: Option<OsString>, xdg: Option<OsString>, home: Option<OsString>) -> Option<PathBuf> {
    let given = |value: Option<OsString>| value.filter(|v| !v.is_empty()).map(PathBuf::from);
    given(own)
        .or_else(|| given(xdg).filter(|p| p.is_absolute()).map(|p| p.join("replank")))
        .or_else(|| given(home).map(|p| p.join(".cache/replank")))
}

/// The folder `name` of `cache`; where it is absent, `make` is called with an empty folder to fill.
///
/// Blocks while another process makes the same folder.
pub(super) fn get_or_make(
    cache: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    let done = cache.join(name);
    if done.is_dir() {
        return Ok(done);
    }
    fs::create_dir_all(cache).map_err(|e| unwritable(cache, e))?;
    let _lock = Lock::wait(&cache.join(format!("{name}.lock")))?;
    if done.is_dir() {
        return Ok(done);
    }
    let partial = cache.join(format!("{name}.partial"));
    if partial.exists() {
        fs::remove_dir_all(&partial).map_err(|e| unwritable(&partial, e))?;
    }
    fs::create_dir(&partial).map_err(|e| unwritable(&partial, e))?;
    let made = make(&partial).and_then(|()| {
        flush(&partial);
        fs::rename(&partial, &done).map_err(|e| unwritable(&done, e))
    });
    if made.is_err() {
        // The first error is the one to report; what cannot be removed now is removed next time.
        let _ = fs::remove_dir_all(&partial);
    }
    made.map(|()| done)
}

/// Writes the file system of `folder` out, so that a power cut cannot leave a complete name on
/// incomplete files. Best effort: the caller has a usable folder either way.
fn flush(folder: &Path) {
    if let Err(error) = Command::new("sync").arg("-f").arg(folder).status() {
        info!("{} was not flushed to the disk: {error}", folder.display());
    }
}

/// A file or folder of the cache that could not be read or written.
pub(super) fn unwritable(path: &Path, error: io::Error) -> Error {
    Error::refused(format!("cannot use {}", path.display()))
        .caused_by(error)
        .remedy("set REPLANK_CACHE to a folder that can be written")
}

/// An exclusive lock on a file, held until the value is dropped or its process ends.
///
/// It is the `flock` of the open file, so it excludes threads of one process too, and the file is
/// closed in child processes (std opens every file with close-on-exec), so they cannot hold it on.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

impl Lock {
    /// Waits until the lock is free; says so in the log when it is not.
    fn wait(path: &Path) -> Result<Lock> {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path)
            .map_err(|e| unwritable(path, e))?;
        if !flock(&file, libc::LOCK_EX | libc::LOCK_NB).map_err(|e| unwritable(path, e))? {
            info!("waiting for another process that holds {}", path.display());
            flock(&file, libc::LOCK_EX).map_err(|e| unwritable(path, e))?;
        }
        Ok(Lock { _file: file })
    }

    /// Locks `file` if nobody else holds it.
    pub(super) fn try_on(file: File) -> io::Result<Option<Lock>> {
        Ok(flock(&file, libc::LOCK_EX | libc::LOCK_NB)?.then_some(Lock { _file: file }))
    }
}

/// `flock(2)`: true if the lock is now held, false if it would have to be waited for.
#[allow(unsafe_code)]
fn flock(file: &File, operation: libc::c_int) -> io::Result<bool> {
    loop {
        // SAFETY: the descriptor is open for as long as `file` is borrowed, and flock takes no
        // pointer. (std's File::lock needs Rust 1.89.)
        if unsafe { libc::flock(file.as_raw_fd(), operation) } == 0 {
            return Ok(true);
        }
        let error = io::Error::last_os_error();
        match error.kind() {
            io::ErrorKind::WouldBlock => return Ok(false),
            io::ErrorKind::Interrupted => {}
            _ => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    fn os(text: &str) -> Option<OsString> {
        Some(text.into())
    }

    #[test]
    fn the_own_variable_wins_then_xdg_then_home() {
        let all = choose(os("/own"), os("/xdg"), os("/home/ada"));
        assert_eq!(all, Some("/own".into()));
        let no_own = choose(os(""), os("/xdg"), os("/home/ada"));
        assert_eq!(no_own, Some("/xdg/replank".into()));
        let relative_xdg = choose(None, os("xdg"), os("/home/ada"));
        assert_eq!(relative_xdg, Some("/home/ada/.cache/replank".into()));
        assert_eq!(choose(None, None, None), None);
    }

    #[test]
    fn many_callers_make_a_folder_once_and_all_see_it_whole() {
        let cache = tempfile::tempdir().unwrap();
        let made = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let folder = get_or_make(cache.path(), "thing", |partial| {
                        made.fetch_add(1, Ordering::SeqCst);
                        fs::write(partial.join("a"), "1").unwrap();
                        std::thread::yield_now();
                        fs::write(partial.join("b"), "2").unwrap();
                        Ok(())
                    })
                    .unwrap();
                    assert!(folder.join("a").exists() && folder.join("b").exists());
                });
            }
        });
        assert_eq!(made.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_failed_maker_leaves_nothing_and_the_next_one_starts_afresh() {
        let cache = tempfile::tempdir().unwrap();
        let failed = get_or_make(cache.path(), "thing", |partial| {
            fs::write(partial.join("half"), "").unwrap();
            Err(Error::failed("the network went away"))
        });
        assert_eq!(failed.unwrap_err().what(), "the network went away");
        let folder = get_or_make(cache.path(), "thing", |_| Ok(())).unwrap();
        assert!(!folder.join("half").exists());
    }
}
