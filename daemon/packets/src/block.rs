//! A piece of shared memory without a name: nothing is left behind when the daemon dies.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;

use memmap2::MmapMut;
use nix::fcntl::{FcntlArg, SealFlag, fcntl};
use nix::sys::memfd::{MFdFlags, memfd_create};

/// A block as its writer has it.
pub(crate) struct Block {
    map: MmapMut,
    file: File,
}

impl Block {
    /// Makes one. Only this mapping may ever write to it, and its size is fixed: a reader cannot hurt the daemon, nor
    /// another reader.
    ///
    /// Seals: memfd_create(2), fcntl(2); `F_SEAL_FUTURE_WRITE` since Linux 5.1.
    pub(crate) fn make(bytes: u64) -> io::Result<Block> {
        let file: File = memfd_create(
            "synoptic-packet",
            MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING,
        )?
        .into();
        file.set_len(bytes)?;
        fcntl(
            &file,
            FcntlArg::F_ADD_SEALS(SealFlag::F_SEAL_SHRINK | SealFlag::F_SEAL_GROW),
        )?;
        #[allow(
            unsafe_code,
            reason = "a mapping of a file is only as safe as the file, and this one is sealed"
        )]
        // SAFETY: the size is sealed, so no access ends in SIGBUS; no other writable mapping can exist, since nobody
        // else has had the descriptor and the next line forbids them; readers never see a block that is being written.
        let map = unsafe { MmapMut::map_mut(&file)? };
        let rest = SealFlag::F_SEAL_FUTURE_WRITE | SealFlag::F_SEAL_SEAL;
        fcntl(&file, FcntlArg::F_ADD_SEALS(rest))?;
        Ok(Block { map, file })
    }

    /// Its memory.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        &mut self.map
    }

    /// A descriptor for readers.
    pub(crate) fn descriptor(&self) -> io::Result<OwnedFd> {
        Ok(self.file.try_clone()?.into())
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;

    use super::*;

    #[test]
    fn a_reader_sees_and_cannot_change() {
        let mut block = Block::make(8192).unwrap();
        block.bytes()[5000] = 7;
        let reader = File::from(block.descriptor().unwrap());
        let mut byte = [0];
        reader.read_exact_at(&mut byte, 5000).unwrap();
        assert_eq!(byte, [7]);
        assert!(reader.write_at(&[1], 0).is_err());
        assert!(reader.set_len(4096).is_err() && reader.set_len(16_384).is_err());
    }
}
