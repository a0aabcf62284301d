//! The spill: changes that wait on disk, in segments that are written at the tail and read at the head.
//!
//! A segment `spill-<number>.log` is a row of frames: length (u32, little endian), CRC-32 (IEEE) of the body
//! (u32), body ([`Entry::encode`]). A segment is deleted once all of it is in the database; until then the
//! database's table `spill` says how far it has been taken over, in the very transaction that takes it.
//! A frame cut short at the end of a segment was never acknowledged (the program was killed while writing it).

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use crate::entry::Entry;
use crate::{Quarantined, StoreError};

/// A segment is closed when it is larger than this, so that disk space comes back in steps.
const SEGMENT_BYTES: u64 = 8 << 20;
/// Number of the first segment. Not 0: what is left in memory at the end goes in front of the others.
const FIRST_SEGMENT: i64 = 1_000_000;
/// Length and CRC.
const FRAME_HEAD_BYTES: u64 = 8;

/// How far a segment has been taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) segment: i64,
    /// Bytes from the segment's beginning.
    pub(crate) done: u64,
}

fn path_of(dir: &Path, segment: i64) -> PathBuf {
    dir.join(format!("spill-{segment:010}.log"))
}

/// The segments in a folder, by number.
pub(crate) fn segments(dir: &Path) -> Result<Vec<i64>, StoreError> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(dir).map_err(StoreError::file(dir, "list the folder"))? {
        let item = item.map_err(StoreError::file(dir, "list the folder"))?;
        let name = item.file_name();
        let number = name
            .to_str()
            .and_then(|n| n.strip_prefix("spill-")?.strip_suffix(".log"));
        if let Some(number) = number.and_then(|n| n.parse().ok()) {
            found.push(number);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What one frame turned out to be.
enum Frame {
    Entry(Box<Entry>, u64),
    /// Cut short: nothing more in this segment.
    End,
    Damaged(String),
}

/// Reads the frame at the file's position, which is `at`; `len` is the length of the file.
fn read_frame(file: &mut File, at: u64, len: u64) -> std::io::Result<Frame> {
    if at + FRAME_HEAD_BYTES > len {
        return Ok(Frame::End);
    }
    let mut head = [0; FRAME_HEAD_BYTES as usize];
    file.read_exact(&mut head)?;
    let [a, b, c, d, e, f, g, h] = head;
    let bytes = u64::from(u32::from_le_bytes([a, b, c, d]));
    let crc = u32::from_le_bytes([e, f, g, h]);
    let end = at + FRAME_HEAD_BYTES + bytes;
    if end > len {
        return Ok(Frame::End);
    }
    let mut body = vec![0; bytes as usize];
    file.read_exact(&mut body)?;
    if crc32fast::hash(&body) != crc {
        return Ok(Frame::Damaged(format!("wrong checksum at byte {at}")));
    }
    Ok(match Entry::decode(&body) {
        Ok(entry) => Frame::Entry(Box::new(entry), end),
        Err(why) => Frame::Damaged(format!("byte {at}: {why}")),
    })
}

/// Looks through the segments that an earlier run left. Returns how many changes wait in them and the segments
/// that are damaged: of those a copy is set aside, and what stands before the damage is kept for replay.
pub(crate) fn recover(
    dir: &Path,
    done: &dyn Fn(i64) -> u64,
    suffix: &str,
) -> Result<(u64, Vec<Quarantined>), StoreError> {
    let mut waiting = 0;
    let mut quarantined = Vec::new();
    for segment in segments(dir)? {
        let path = path_of(dir, segment);
        let read = |e| StoreError::file(&path, "read the spill")(e);
        let mut file = File::open(&path).map_err(read)?;
        let len = file.metadata().map_err(read)?.len();
        let mut at = done(segment).min(len);
        file.seek(SeekFrom::Start(at)).map_err(read)?;
        loop {
            match read_frame(&mut file, at, len).map_err(read)? {
                Frame::Entry(_, end) => {
                    waiting += 1;
                    at = end;
                }
                Frame::End => break,
                Frame::Damaged(why) => {
                    let moved_to = dir.join(format!("spill-{segment:010}.log.{suffix}"));
                    let aside = |e| StoreError::file(&moved_to, "set the damaged spill aside")(e);
                    std::fs::copy(&path, &moved_to).map_err(aside)?;
                    OpenOptions::new()
                        .write(true)
                        .open(&path)
                        .and_then(|f| f.set_len(at))
                        .map_err(aside)?;
                    quarantined.push(Quarantined {
                        path: path.clone(),
                        moved_to,
                        why,
                    });
                    break;
                }
            }
        }
    }
    Ok((waiting, quarantined))
}

/// Appends at the tail. Used by the spill thread, and by the writer at the very end.
pub(crate) struct SpillTail {
    dir: PathBuf,
    /// All segments together stay below this many bytes.
    max_bytes: u64,
    next_segment: i64,
    open: Option<(i64, File, u64)>,
}

impl SpillTail {
    /// `known` is the largest segment number that the database remembers.
    pub(crate) fn new(dir: &Path, max_bytes: u64, known: Option<i64>) -> Result<SpillTail, StoreError> {
        let last = segments(dir)?.last().copied().max(known);
        Ok(SpillTail {
            dir: dir.to_owned(),
            max_bytes,
            next_segment: last.map_or(FIRST_SEGMENT, |n| n + 1),
            open: None,
        })
    }

    /// Another limit, from the next append on.
    pub(crate) fn set_max_bytes(&mut self, max_bytes: u64) {
        self.max_bytes = max_bytes;
    }

    /// Appends entries and makes them durable: all of them, or none.
    pub(crate) fn append<'a>(&mut self, entries: impl Iterator<Item = &'a Entry>) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        for entry in entries {
            encode_frame(&self.dir, entry, &mut bytes)?;
        }
        let used = used_bytes(&self.dir)?;
        if used + bytes.len() as u64 > self.max_bytes {
            let why = format!("it has {used} bytes of at most {}", self.max_bytes);
            return Err(StoreError::file(&self.dir, "add to the spill")(
                std::io::Error::new(std::io::ErrorKind::StorageFull, why),
            ));
        }
        if self.open.as_ref().is_some_and(|(_, _, len)| *len > SEGMENT_BYTES) {
            self.open = None;
        }
        let (segment, mut file, len) = match self.open.take() {
            Some(open) => open,
            None => {
                let segment = self.next_segment;
                let path = path_of(&self.dir, segment);
                let file = create(&self.dir, &path).map_err(StoreError::file(&path, "create the spill"))?;
                self.next_segment += 1;
                (segment, file, 0)
            }
        };
        let path = path_of(&self.dir, segment);
        match file.write_all(&bytes).and_then(|()| file.sync_data()) {
            Ok(()) => {
                self.open = Some((segment, file, len + bytes.len() as u64));
                Ok(())
            }
            Err(e) => {
                // Half a frame must not stay in front of whole ones. Should cutting it off fail too, the segment
                // is left as it is: readers stop at the cut, and the next attempt begins a new segment.
                match file.set_len(len).and_then(|()| file.seek(SeekFrom::Start(len))) {
                    Ok(_) => self.open = Some((segment, file, len)),
                    Err(cut) => log::warn!("{}: cannot cut off half a record: {cut}", path.display()),
                }
                Err(StoreError::file(&path, "write the spill")(e))
            }
        }
    }

    /// Writes entries in front of all segments: what was older than they and could not be stored.
    pub(crate) fn put_in_front<'a>(
        &mut self,
        entries: impl Iterator<Item = &'a Entry>,
    ) -> Result<(), StoreError> {
        let segment = segments(&self.dir)?.first().map_or(self.next_segment, |n| n - 1);
        self.next_segment = self.next_segment.max(segment + 1);
        let mut bytes = Vec::new();
        for entry in entries {
            encode_frame(&self.dir, entry, &mut bytes)?;
        }
        let path = path_of(&self.dir, segment);
        let write = || {
            let mut file = create(&self.dir, &path)?;
            file.write_all(&bytes)?;
            file.sync_data()
        };
        write().map_err(StoreError::file(&path, "write the spill"))
    }

    /// Ends the open segment, so that the reader may delete it.
    pub(crate) fn close_segment(&mut self) {
        self.open = None;
    }
}

fn create(dir: &Path, path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    File::open(dir)?.sync_all()?;
    Ok(file)
}

fn encode_frame(dir: &Path, entry: &Entry, out: &mut Vec<u8>) -> Result<(), StoreError> {
    let invalid = |why: String| StoreError::file(dir, "encode a change")(std::io::Error::other(why));
    let body = entry.encode().map_err(invalid)?;
    let bytes = u32::try_from(body.len()).map_err(|_| invalid("it is larger than 4 GiB".to_owned()))?;
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
    out.extend_from_slice(&body);
    Ok(())
}

/// Bytes of all segments.
pub(crate) fn used_bytes(dir: &Path) -> Result<u64, StoreError> {
    let sizes = segments(dir)?.into_iter().map(|segment| {
        // A segment that was deleted meanwhile takes no space.
        std::fs::metadata(path_of(dir, segment)).map_or(0, |m| m.len())
    });
    Ok(sizes.sum())
}

/// Reads at the head. Used by the writer.
pub(crate) struct SpillHead {
    dir: PathBuf,
    /// Where the next batch begins; `None` before the first, or when all segments are read.
    at: Option<Position>,
}

/// What [`SpillHead::read`] found.
pub(crate) struct SpillBatch {
    pub(crate) entries: Vec<Entry>,
    /// Where each touched segment stands after these.
    pub(crate) positions: Vec<Position>,
    /// The end of the last segment was reached.
    pub(crate) exhausted: bool,
}

impl SpillHead {
    pub(crate) fn new(dir: &Path) -> SpillHead {
        SpillHead {
            dir: dir.to_owned(),
            at: None,
        }
    }

    /// Up to `count` entries and about `max_bytes`, without moving on: that is [`SpillHead::taken`], after the
    /// commit. `done` says how far a segment was taken over by an earlier run.
    pub(crate) fn read(
        &self,
        count: u64,
        max_bytes: usize,
        done: &dyn Fn(i64) -> u64,
    ) -> Result<SpillBatch, StoreError> {
        let mut batch = SpillBatch {
            entries: Vec::new(),
            positions: Vec::new(),
            exhausted: true,
        };
        let mut bytes = 0;
        for segment in segments(&self.dir)? {
            let start = match self.at {
                Some(at) if at.segment > segment => continue,
                Some(at) if at.segment == segment => at.done,
                _ => done(segment),
            };
            let path = path_of(&self.dir, segment);
            let read = |e| StoreError::file(&path, "read the spill")(e);
            let mut file = File::open(&path).map_err(read)?;
            let len = file.metadata().map_err(read)?.len();
            let mut at = start.min(len);
            file.seek(SeekFrom::Start(at)).map_err(read)?;
            loop {
                if batch.entries.len() as u64 >= count || bytes >= max_bytes {
                    batch.positions.push(Position { segment, done: at });
                    batch.exhausted = false;
                    return Ok(batch);
                }
                match read_frame(&mut file, at, len).map_err(read)? {
                    Frame::Entry(entry, end) => {
                        bytes += entry.bytes();
                        batch.entries.push(*entry);
                        at = end;
                    }
                    Frame::End => break,
                    Frame::Damaged(why) => {
                        log::error!(
                            "{}: {why}; what follows in this file is passed over",
                            path.display()
                        );
                        break;
                    }
                }
            }
            batch.positions.push(Position { segment, done: at });
        }
        Ok(batch)
    }

    /// Moves on behind a batch that is committed, and deletes the segments before its end.
    pub(crate) fn taken(&mut self, batch: &SpillBatch) -> Result<(), StoreError> {
        let Some(last) = batch.positions.last() else {
            return Ok(());
        };
        self.at = Some(*last);
        for segment in segments(&self.dir)?.into_iter().filter(|s| *s < last.segment) {
            self.delete(segment)?;
        }
        Ok(())
    }

    /// Deletes every segment: all of it is in the database.
    pub(crate) fn clear(&mut self) -> Result<(), StoreError> {
        for segment in segments(&self.dir)? {
            self.delete(segment)?;
        }
        Ok(())
    }

    fn delete(&self, segment: i64) -> Result<(), StoreError> {
        let path = path_of(&self.dir, segment);
        std::fs::remove_file(&path).map_err(StoreError::file(&path, "delete the spill"))
    }
}
