//! What reading a configuration asks of the machine: injected, so that tests need no machine.

use std::io;
use std::path::Path;

/// Largest file a password is read from, in bytes.
const MAX_SECRET_BYTES: u64 = 64 << 10;

/// A small text file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SmallFile {
    /// Its text.
    pub text: String,
    /// Its permission bits (`0o600`).
    pub mode: u32,
}

/// What reading a configuration asks of the machine.
pub trait Surroundings {
    /// Reads the file of a password. Fails as reading does, and when the file is too large or no UTF-8.
    fn read_secret(&self, path: &Path) -> io::Result<SmallFile>;
    /// An environment variable; `None` when it is not set or no UTF-8.
    fn env(&self, name: &str) -> Option<String>;
    /// The machine's host name.
    fn host_name(&self) -> Option<String>;
}

/// The machine we run on.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThisMachine;

impl Surroundings for ThisMachine {
    fn read_secret(&self, path: &Path) -> io::Result<SmallFile> {
        use std::io::Read as _;
        use std::os::unix::fs::PermissionsExt as _;
        let file = std::fs::File::open(path)?;
        let mode = file.metadata()?.permissions().mode() & 0o7777;
        let mut text = String::new();
        file.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
        if text.len() as u64 > MAX_SECRET_BYTES {
            return Err(io::Error::other(format!(
                "it is larger than {MAX_SECRET_BYTES} bytes"
            )));
        }
        Ok(SmallFile { text, mode })
    }

    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn host_name(&self) -> Option<String> {
        let text = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
        Some(text.trim().to_owned()).filter(|t| !t.is_empty())
    }
}

#[cfg(test)]
pub(crate) mod fake {
    //! A machine that exists in memory.

    use std::collections::BTreeMap;
    use std::path::PathBuf;

    use super::*;

    /// Files, variables and a name.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct FakeMachine {
        pub(crate) files: BTreeMap<PathBuf, SmallFile>,
        pub(crate) vars: BTreeMap<String, String>,
        pub(crate) host_name: Option<String>,
        /// Every secret that is asked for exists.
        pub(crate) generous: bool,
    }

    impl FakeMachine {
        pub(crate) fn with_file(mut self, path: &str, text: &str, mode: u32) -> FakeMachine {
            let text = text.to_owned();
            self.files.insert(path.into(), SmallFile { text, mode });
            self
        }
        pub(crate) fn with_var(mut self, name: &str, value: &str) -> FakeMachine {
            self.vars.insert(name.to_owned(), value.to_owned());
            self
        }
    }

    impl Surroundings for FakeMachine {
        fn read_secret(&self, path: &Path) -> io::Result<SmallFile> {
            let some = SmallFile {
                text: "a-fake-but-long-secret\n".to_owned(),
                mode: 0o600,
            };
            match self.files.get(path) {
                Some(file) => Ok(file.clone()),
                None if self.generous => Ok(some),
                None => Err(io::ErrorKind::NotFound.into()),
            }
        }
        fn env(&self, name: &str) -> Option<String> {
            let generous = self.generous.then(|| "/fake".to_owned());
            self.vars.get(name).cloned().or(generous)
        }
        fn host_name(&self) -> Option<String> {
            self.host_name.clone()
        }
    }

    #[test]
    fn this_machine_reads_a_file_with_its_mode() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p");
        std::fs::write(&path, "x\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let file = ThisMachine.read_secret(&path).unwrap();
        assert_eq!((file.text.as_str(), file.mode), ("x\n", 0o640));
        std::fs::write(&path, vec![b'x'; MAX_SECRET_BYTES as usize + 1]).unwrap();
        assert!(ThisMachine.read_secret(&path).is_err());
        assert!(ThisMachine.host_name().is_some());
    }
}
