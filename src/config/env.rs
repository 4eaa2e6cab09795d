//! What this room reads from the machine: variables, files and the terminal, behind one trait.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

/// The process's surroundings, so that tests can supply their own.
pub trait Env {
    /// An environment variable, if it is set.
    fn var(&self, name: &str) -> Option<OsString>;

    /// The whole content of a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The permission bits of a regular file; `None` for anything else (a pipe, `/dev/null`) and
    /// on systems without Unix permissions.
    fn mode(&self, path: &Path) -> io::Result<Option<u32>>;

    /// The paths of the entries of a directory, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>>;

    /// Asks for a password on the terminal, without echo.
    fn ask_password(&self, prompt: &str) -> io::Result<String>;
}

/// The real process environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemEnv;

impl Env for SystemEnv {
    fn var(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        std::fs::read(path)
    }

    #[cfg(unix)]
    fn mode(&self, path: &Path) -> io::Result<Option<u32>> {
        use std::os::unix::fs::PermissionsExt;
        let metadata = std::fs::metadata(path)?;
        Ok(metadata.is_file().then(|| metadata.permissions().mode()))
    }

    #[cfg(not(unix))]
    fn mode(&self, path: &Path) -> io::Result<Option<u32>> {
        std::fs::metadata(path).map(|_| None)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
        std::fs::read_dir(dir)?.map(|entry| Ok(entry?.path())).collect()
    }

    fn ask_password(&self, prompt: &str) -> io::Result<String> {
        rpassword::prompt_password(prompt)
    }
}

#[cfg(test)]
pub(super) mod fake {
    use super::*;
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    /// An environment made of what a test puts in, with `/home/ann` as the home directory.
    #[derive(Default)]
    pub(crate) struct FakeEnv {
        vars: BTreeMap<String, OsString>,
        files: BTreeMap<PathBuf, (Vec<u8>, u32)>,
        answer: Option<String>,
        pub(crate) prompts: RefCell<Vec<String>>,
    }

    impl FakeEnv {
        pub(crate) fn new() -> Self {
            FakeEnv::default().with_var("USER", "ann").with_var("HOME", "/home/ann")
        }

        pub(crate) fn with_var(mut self, name: &str, value: &str) -> Self {
            self.vars.insert(name.to_owned(), value.into());
            self
        }

        pub(crate) fn without_var(mut self, name: &str) -> Self {
            self.vars.remove(name);
            self
        }

        pub(crate) fn with_file(self, path: &str, content: impl AsRef<[u8]>) -> Self {
            self.with_file_mode(path, content, 0o600)
        }

        pub(crate) fn with_file_mode(
            mut self,
            path: &str,
            content: impl AsRef<[u8]>,
            mode: u32,
        ) -> Self {
            self.files.insert(path.into(), (content.as_ref().to_vec(), mode));
            self
        }

        pub(crate) fn answering(mut self, password: &str) -> Self {
            self.answer = Some(password.to_owned());
            self
        }
    }

    impl Env for FakeEnv {
        fn var(&self, name: &str) -> Option<OsString> {
            self.vars.get(name).cloned()
        }

        fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
            self.files.get(path).map(|f| f.0.clone()).ok_or(io::ErrorKind::NotFound.into())
        }

        fn mode(&self, path: &Path) -> io::Result<Option<u32>> {
            self.files.get(path).map(|f| Some(f.1)).ok_or(io::ErrorKind::NotFound.into())
        }

        fn list(&self, dir: &Path) -> io::Result<Vec<PathBuf>> {
            let inside = |path: &&PathBuf| path.parent() == Some(dir);
            let found: Vec<_> = self.files.keys().rev().filter(inside).cloned().collect();
            if found.is_empty() { Err(io::ErrorKind::NotFound.into()) } else { Ok(found) }
        }

        fn ask_password(&self, prompt: &str) -> io::Result<String> {
            self.prompts.borrow_mut().push(prompt.to_owned());
            self.answer.clone().ok_or(io::ErrorKind::NotConnected.into())
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn only_a_regular_file_has_permissions_to_judge() {
        let program = std::env::current_exe().unwrap();
        let mode = SystemEnv.mode(&program).unwrap().unwrap();
        assert_ne!(mode & 0o100, 0, "the test program is executable: {mode:o}");
        assert_eq!(SystemEnv.mode(Path::new("/dev/null")).unwrap(), None);
        assert!(SystemEnv.list(program.parent().unwrap()).unwrap().contains(&program));
        assert!(SystemEnv.mode(&program.join("missing")).is_err());
    }
}
