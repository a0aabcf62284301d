//! What the machine says of itself: its slot, its release, the health gate's files, Jetson's UEFI variables, room.

use std::path::{Path, PathBuf};

use synoptic_engine::update::{Look, Redundancy};

/// Variables of NVIDIA's UEFI (gNVIDIAPublicVariableGuid of edk2-nvidia): four bytes of attributes, then a UINT32.
const NVIDIA: &str = "781e084c-a330-417c-b678-38e696380cb9";
/// `RootfsStatusSlotX` of a slot that the firmware gave up; 0 is a sound one.
const UNBOOTABLE: u32 = 0xff;

/// Where things are on this machine.
#[derive(Clone, Debug)]
pub struct Places {
    /// Stands before every path of the system; `/` but in tests.
    pub root: PathBuf,
    /// The updater's own folder, on the data partition.
    pub own: PathBuf,
}

impl Places {
    /// Of this machine, with the daemon's data in `data_dir`.
    pub fn of_this_machine(data_dir: &Path) -> Places {
        Places {
            root: PathBuf::from("/"),
            own: data_dir.join("update"),
        }
    }

    /// The bundle, whole or in part.
    pub(super) fn bundle(&self) -> PathBuf {
        self.own.join("bundle.raucb")
    }

    pub(super) fn at(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// A small text file of the system, without white space at its ends; `None` when it is not there, or empty.
    fn text(&self, path: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.at(path)).ok()?;
        Some(text.trim().to_owned()).filter(|t| !t.is_empty())
    }

    /// The release that runs: the image's, else the daemon's own version.
    pub(super) fn version(&self) -> String {
        self.text("usr/share/synoptic/release")
            .unwrap_or_else(|| env!("CARGO_PKG_VERSION").to_owned())
    }

    /// The slot that runs, as the boot loader calls it.
    pub(super) fn running(&self) -> Option<String> {
        let cmdline = self.text("proc/cmdline");
        let told = cmdline
            .iter()
            .flat_map(|line| line.split_whitespace())
            .find_map(|word| word.strip_prefix("rauc.slot="));
        // NVIDIA's loader says nothing on the command line; the root file system goes with the boot chain.
        let chain = || match self.variable("BootChainFwCurrent") {
            Some(0) => Some("A".to_owned()),
            Some(1) => Some("B".to_owned()),
            _ => None,
        };
        told.map(str::to_owned).or_else(chain)
    }

    /// Why the box went back the last time.
    pub(super) fn rollback_reason(&self) -> Option<String> {
        self.text("data/update/rollback-reason")
    }

    /// The slot that waits for the health gate; an empty file stands for whichever runs.
    pub(super) fn pending(&self) -> Option<String> {
        let file = self.at("data/update/pending");
        let text = std::fs::read_to_string(file).ok()?;
        Some(match text.trim() {
            "" => self.running().unwrap_or_default(),
            slot => slot.to_owned(),
        })
    }

    /// What the gate and the boot loader say.
    pub(super) fn look(&self) -> Look {
        Look {
            running: self.running(),
            pending: self.pending(),
            rollback_reason: self.rollback_reason(),
        }
    }

    /// Whether the firmware would start the slot that is written. Only NVIDIA's has a say of its own.
    pub(super) fn redundancy(&self) -> Redundancy {
        if self.variable("RootfsRedundancyLevel") == Some(0) {
            return Redundancy::NotArmed;
        }
        for slot in ["A", "B"] {
            if self.variable(&format!("RootfsStatusSlot{slot}")) == Some(UNBOOTABLE)
                && self.running().as_deref() != Some(slot)
            {
                return Redundancy::Trapped(slot.to_owned());
            }
        }
        Redundancy::Armed
    }

    fn variable(&self, name: &str) -> Option<u32> {
        let file = self.at(&format!("sys/firmware/efi/efivars/{name}-{NVIDIA}"));
        let bytes = std::fs::read(file).ok()?;
        let value = bytes.get(4..8)?.try_into().ok()?;
        Some(u32::from_le_bytes(value))
    }

    /// Bytes free where the bundle goes.
    pub(super) fn free(&self) -> std::io::Result<u64> {
        let fs = nix::sys::statvfs::statvfs(&self.own)?;
        Ok(fs.blocks_available().saturating_mul(fs.fragment_size()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(dir: &Path) -> Places {
        Places {
            root: dir.to_owned(),
            own: dir.join("own"),
        }
    }

    fn write(dir: &Path, path: &str, content: &[u8]) {
        let file = dir.join(path);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, content).unwrap();
    }

    #[test]
    fn a_machine_that_is_no_box_says_little() {
        let dir = tempfile::tempdir().unwrap();
        let here = places(dir.path());
        assert_eq!(here.version(), env!("CARGO_PKG_VERSION"));
        assert_eq!(here.look(), Look::default());
        assert_eq!(here.redundancy(), Redundancy::Armed);
        assert!(here.free().is_err());
        std::fs::create_dir(dir.path().join("own")).unwrap();
        assert!(here.free().unwrap() > 0);
    }

    #[test]
    fn a_box_says_what_runs_and_what_waits() {
        let dir = tempfile::tempdir().unwrap();
        let here = places(dir.path());
        write(dir.path(), "proc/cmdline", b"root=/dev/x rauc.slot=B quiet\n");
        write(dir.path(), "usr/share/synoptic/release", b"1.2.3\n");
        write(dir.path(), "data/update/pending", b"B\n");
        write(
            dir.path(),
            "data/update/rollback-reason",
            b"the page does not answer\n",
        );
        assert_eq!(
            (here.version().as_str(), here.running().as_deref()),
            ("1.2.3", Some("B"))
        );
        let look = here.look();
        assert_eq!(look.pending.as_deref(), Some("B"));
        assert_eq!(look.rollback_reason.as_deref(), Some("the page does not answer"));
        // Whichever runs.
        write(dir.path(), "data/update/pending", b"");
        assert_eq!(here.pending().as_deref(), Some("B"));
    }

    #[test]
    fn a_jetson_says_whether_it_would_go_back() {
        let dir = tempfile::tempdir().unwrap();
        let here = places(dir.path());
        write(dir.path(), "proc/cmdline", b"rauc.slot=A");
        let variable = |name: &str, value: u8| {
            let path = format!("sys/firmware/efi/efivars/{name}-{NVIDIA}");
            write(dir.path(), &path, &[7, 0, 0, 0, value, 0, 0, 0]);
        };
        variable("RootfsRedundancyLevel", 1);
        variable("RootfsStatusSlotB", 0);
        assert_eq!(here.redundancy(), Redundancy::Armed);
        variable("RootfsStatusSlotB", 0xff);
        assert_eq!(here.redundancy(), Redundancy::Trapped("B".to_owned()));
        // The slot that runs is no target: the boot chain tells which one that is.
        write(dir.path(), "proc/cmdline", b"root=PARTUUID=1 quiet");
        assert_eq!(here.running(), None);
        for (chain, slot) in [(0, "A"), (1, "B")] {
            variable("BootChainFwCurrent", chain);
            assert_eq!(here.running().as_deref(), Some(slot));
        }
        assert_eq!(here.redundancy(), Redundancy::Armed, "B runs");
        variable("RootfsRedundancyLevel", 0);
        assert_eq!(here.redundancy(), Redundancy::NotArmed);
        // Half a variable says nothing.
        write(
            dir.path(),
            &format!("sys/firmware/efi/efivars/RootfsRedundancyLevel-{NVIDIA}"),
            &[7, 0, 0],
        );
        write(
            dir.path(),
            &format!("sys/firmware/efi/efivars/RootfsStatusSlotB-{NVIDIA}"),
            b"",
        );
        assert_eq!(here.redundancy(), Redundancy::Armed);
    }
}
