//! Who gets which block, and what goes when there is no room. No I/O: blocks and readers are numbers.

use std::collections::{BTreeMap, VecDeque};

/// A reader, for as long as it is connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ReaderId(pub(crate) u64);

/// A block to write a packet to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) block: usize,
    /// The block has to be made, of this many bytes; one of its number, if there is one, is too small.
    pub(crate) make: Option<u64>,
}

/// A reader that gives back what it has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotHeld;

#[derive(Debug, Default)]
struct Block {
    bytes: u64,
    /// Rings that it waits in, readers that hold it, and the writer.
    users: u32,
}

#[derive(Debug)]
struct Reader {
    limit: Option<usize>,
    ring: VecDeque<usize>,
    held: Vec<usize>,
    lost: u64,
}

/// Sizes of blocks are multiples of this, so that a few vectors more need no new block.
const GRAIN: u64 = 1 << 20;

/// The blocks of a group, its readers and their rings.
#[derive(Debug)]
pub(crate) struct Exchange {
    max_bytes: u64,
    blocks: Vec<Block>,
    readers: BTreeMap<ReaderId, Reader>,
    next: u64,
}

impl Exchange {
    /// No readers, no blocks; those to come stay below `max_bytes` together.
    pub(crate) fn new(max_bytes: u64) -> Exchange {
        Exchange {
            max_bytes,
            blocks: Vec::new(),
            readers: BTreeMap::new(),
            next: 0,
        }
    }

    /// A reader comes, with a ring of `limit` packets.
    pub(crate) fn join(&mut self, limit: Option<usize>) -> ReaderId {
        let id = ReaderId(self.next);
        self.next += 1;
        let reader = Reader {
            limit,
            ring: VecDeque::new(),
            held: Vec::new(),
            lost: 0,
        };
        self.readers.insert(id, reader);
        id
    }

    /// A reader goes; what waited for it and what it held is free.
    pub(crate) fn leave(&mut self, id: ReaderId) {
        if let Some(reader) = self.readers.remove(&id) {
            for block in reader.ring.into_iter().chain(reader.held) {
                self.blocks[block].users -= 1;
            }
        }
    }

    /// Forgets all blocks; for when there are no readers.
    pub(crate) fn forget(&mut self) {
        debug_assert!(self.readers.is_empty());
        self.blocks.clear();
    }

    pub(crate) fn readers(&self) -> usize {
        self.readers.len()
    }

    /// A block for a packet of `bytes`. Where there is no room, the oldest packet that waits goes; `None` when readers
    /// hold everything, and then the packet is lost to all.
    pub(crate) fn claim(&mut self, bytes: u64) -> Option<Claim> {
        let bytes = bytes.div_ceil(GRAIN) * GRAIN;
        loop {
            let free = |b: &&Block| b.users == 0;
            if let Some(block) = self.blocks.iter().position(|b| b.users == 0 && b.bytes >= bytes) {
                self.blocks[block].users = 1;
                return Some(Claim { block, make: None });
            }
            let used: u64 = self.blocks.iter().map(|b| b.bytes).sum();
            let idle: u64 = self.blocks.iter().filter(free).map(|b| b.bytes).sum();
            let endless = self.readers.values().any(|r| r.limit.is_none());
            // Blocks that are too small make room by being made anew, or by going.
            if used - idle + bytes <= self.max_bytes || (endless && !self.loosen_would_do()) {
                return Some(self.make(bytes));
            }
            if !self.loosen() {
                for reader in self.readers.values_mut() {
                    reader.lost += 1;
                }
                return None;
            }
        }
    }

    /// Takes a number whose block is free, or a new one. Other free blocks shrink to nothing where room is short.
    fn make(&mut self, bytes: u64) -> Claim {
        let block = self.blocks.iter().position(|b| b.users == 0);
        let block = block.unwrap_or_else(|| {
            self.blocks.push(Block::default());
            self.blocks.len() - 1
        });
        self.blocks[block] = Block { bytes, users: 1 };
        let mut used: u64 = self.blocks.iter().map(|b| b.bytes).sum();
        for other in self.blocks.iter_mut().filter(|b| b.users == 0) {
            if used > self.max_bytes {
                used -= other.bytes;
                other.bytes = 0;
            }
        }
        Claim {
            block,
            make: Some(bytes),
        }
    }

    /// Whether a limited ring has something to lose.
    fn loosen_would_do(&self) -> bool {
        self.readers
            .values()
            .any(|r| r.limit.is_some() && !r.ring.is_empty())
    }

    /// The longest limited ring loses its oldest packet.
    fn loosen(&mut self) -> bool {
        let limited = self.readers.values_mut().filter(|r| r.limit.is_some());
        let Some(reader) = limited.max_by_key(|r| r.ring.len()) else {
            return false;
        };
        let Some(block) = reader.ring.pop_front() else {
            return false;
        };
        reader.lost += 1;
        self.blocks[block].users -= 1;
        true
    }

    /// Blocks that shrank to nothing: their memory is to be given back.
    pub(crate) fn emptied(&self) -> impl Iterator<Item = usize> {
        self.blocks
            .iter()
            .enumerate()
            .filter(|(_, b)| b.bytes == 0)
            .map(|(i, _)| i)
    }

    /// A claimed block is written: it goes into every ring, of which a full one loses its oldest.
    pub(crate) fn publish(&mut self, block: usize) {
        for reader in self.readers.values_mut() {
            if reader.limit.is_some_and(|limit| reader.ring.len() >= limit)
                && let Some(oldest) = reader.ring.pop_front()
            {
                reader.lost += 1;
                self.blocks[oldest].users -= 1;
            }
            reader.ring.push_back(block);
            self.blocks[block].users += 1;
        }
        self.blocks[block].users -= 1;
    }

    /// A claimed block could not be made or written.
    pub(crate) fn abandon(&mut self, claim: Claim) {
        let block = &mut self.blocks[claim.block];
        block.users -= 1;
        if claim.make.is_some() {
            block.bytes = 0;
        }
        for reader in self.readers.values_mut() {
            reader.lost += 1;
        }
    }

    /// The oldest packet in a reader's ring, which it holds from now on.
    pub(crate) fn take(&mut self, id: ReaderId) -> Option<usize> {
        let reader = self.readers.get_mut(&id)?;
        let block = reader.ring.pop_front()?;
        reader.held.push(block);
        Some(block)
    }

    /// A reader gives a block back.
    pub(crate) fn release(&mut self, id: ReaderId, block: u64) -> Result<(), NotHeld> {
        let reader = self.readers.get_mut(&id).ok_or(NotHeld)?;
        let at = reader.held.iter().position(|b| *b as u64 == block);
        let block = reader.held.swap_remove(at.ok_or(NotHeld)?);
        self.blocks[block].users -= 1;
        Ok(())
    }

    /// Packets that a reader lost, and blocks that it holds.
    pub(crate) fn account(&self, id: ReaderId) -> (u64, usize) {
        self.readers.get(&id).map_or((0, 0), |r| (r.lost, r.held.len()))
    }

    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        for (i, block) in self.blocks.iter().enumerate() {
            let users: usize = self
                .readers
                .values()
                .map(|r| r.ring.iter().chain(&r.held).filter(|b| **b == i).count())
                .sum();
            assert_eq!(block.users as usize, users, "block {i}: {self:?}");
        }
        let used: u64 = self.blocks.iter().map(|b| b.bytes).sum();
        let endless = self.readers.values().any(|r| r.limit.is_none());
        assert!(used <= self.max_bytes || endless, "{self:?}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: u64 = GRAIN;

    fn put(exchange: &mut Exchange, bytes: u64) -> Option<usize> {
        let claim = exchange.claim(bytes)?;
        exchange.publish(claim.block);
        exchange.check_invariants();
        Some(claim.block)
    }

    #[test]
    fn a_full_ring_loses_its_oldest_and_hurts_no_other() {
        let mut exchange = Exchange::new(100 * BYTES);
        let slow = exchange.join(Some(2));
        let fast = exchange.join(Some(2));
        let mut seen = Vec::new();
        let mut written = Vec::new();
        for _ in 0..5 {
            written.push(put(&mut exchange, BYTES).unwrap());
            let block = exchange.take(fast).unwrap();
            seen.push(block);
            exchange.release(fast, block as u64).unwrap();
        }
        assert_eq!(seen, written);
        assert_eq!(exchange.account(fast), (0, 0));
        assert_eq!(exchange.account(slow).0, 3);
        assert_eq!(exchange.take(slow), Some(written[3]));
        assert_eq!(exchange.take(slow), Some(written[4]));
        assert_eq!(exchange.take(slow), None);
    }

    #[test]
    fn memory_has_a_limit_and_what_is_held_is_never_written_over() {
        let mut exchange = Exchange::new(3 * BYTES);
        let reader = exchange.join(Some(100));
        for _ in 0..3 {
            put(&mut exchange, BYTES).unwrap();
        }
        let held = [exchange.take(reader).unwrap(), exchange.take(reader).unwrap()];
        for _ in 0..5 {
            assert!(!held.contains(&put(&mut exchange, BYTES).unwrap()));
        }
        assert_eq!(exchange.account(reader), (5, 2));
        let last = exchange.take(reader).unwrap();
        assert!(!held.contains(&last));
        assert_eq!(put(&mut exchange, BYTES), None);
        assert_eq!(exchange.account(reader).0, 6);
        exchange.release(reader, held[0] as u64).unwrap();
        assert_eq!(exchange.release(reader, held[0] as u64), Err(NotHeld));
        assert_eq!(put(&mut exchange, BYTES), Some(held[0]));
    }

    #[test]
    fn larger_packets_take_the_place_of_smaller_ones() {
        let mut exchange = Exchange::new(6 * BYTES);
        let reader = exchange.join(Some(2));
        for _ in 0..4 {
            put(&mut exchange, BYTES).unwrap();
        }
        for _ in 0..4 {
            put(&mut exchange, 2 * BYTES).unwrap();
        }
        exchange.leave(reader);
        exchange.check_invariants();
        assert_eq!(exchange.readers(), 0);
        assert_eq!(exchange.claim(7 * BYTES), None);
    }

    #[test]
    fn a_ring_without_a_limit_loses_nothing() {
        let mut exchange = Exchange::new(2 * BYTES);
        let endless = exchange.join(None);
        let limited = exchange.join(Some(2));
        for _ in 0..9 {
            put(&mut exchange, BYTES).unwrap();
        }
        assert_eq!(exchange.account(endless).0, 0);
        assert!(exchange.account(limited).0 >= 7);
        let count = std::iter::from_fn(|| exchange.take(endless)).count();
        assert_eq!(count, 9);
    }

    #[test]
    fn a_block_that_could_not_be_written_is_a_loss() {
        let mut exchange = Exchange::new(2 * BYTES);
        let reader = exchange.join(Some(2));
        let claim = exchange.claim(BYTES).unwrap();
        exchange.abandon(claim);
        exchange.check_invariants();
        assert_eq!(exchange.account(reader), (1, 0));
        assert_eq!(exchange.claim(BYTES).unwrap().make, Some(BYTES));
    }
}
