//! The messages between daemon and reader, over a stream socket of the Unix domain.
//!
//! Each begins with 32 bytes, little endian: four letters that name it, a `u32` and three `u64`. Text that follows is
//! UTF-8, its length is the last number.
//!
//! | from | name | u32 | first | second | third |
//! |---|---|---|---|---|---|
//! | reader | `HELO` | version | packets its ring holds; 2^64 − 1: no limit | 0 | 0 |
//! | reader | `NEXT` | blocks given back | a block | a block | a block |
//! | reader | `STAT` | 0 | 0 | 0 | 0 |
//! | daemon | `HELO` | version | packets its ring holds | 0 | bytes of JSON |
//! | daemon | `PACK` | block | bytes of it that are used | packets lost so far | 1: a descriptor comes with it |
//! | daemon | `IDLE` | 0 | 0 | packets lost so far | bytes of JSON |
//! | daemon | `STAT` | 0 | 0 | packets lost so far | bytes of JSON |
//! | daemon | `FAIL` | 0 | 0 | 0 | bytes of text; the connection ends |
//!
//! `IDLE` comes about once a second while a reader waits; the answer to `NEXT` is still to come.

/// Version of messages and layout.
pub const VERSION: u32 = 1;
/// Bytes of a message without its text.
pub const MESSAGE: usize = 32;
/// Blocks that a reader may keep while it asks for the next.
pub const HELD: usize = 3;
/// A ring without a limit.
pub const UNLIMITED: u64 = u64::MAX;

/// Name of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The first, both ways.
    Hello,
    /// Asks for a packet.
    Next,
    /// Asks for, and tells, the state of the cameras.
    State,
    /// A packet.
    Packet,
    /// Nothing yet.
    Idle,
    /// The reader did wrong, or is one too many.
    Fail,
}

const NAMES: [(Name, [u8; 4]); 6] = [
    (Name::Hello, *b"HELO"),
    (Name::Next, *b"NEXT"),
    (Name::State, *b"STAT"),
    (Name::Packet, *b"PACK"),
    (Name::Idle, *b"IDLE"),
    (Name::Fail, *b"FAIL"),
];

/// A message without its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which.
    pub name: Name,
    /// The `u32`.
    pub small: u32,
    /// The three `u64`.
    pub numbers: [u64; 3],
}

impl Message {
    /// As it is sent.
    pub fn to_bytes(self) -> [u8; MESSAGE] {
        let mut bytes = [0; MESSAGE];
        let name = NAMES.iter().find(|(n, _)| *n == self.name);
        bytes[..4].copy_from_slice(name.map_or(b"FAIL", |(_, letters)| letters));
        bytes[4..8].copy_from_slice(&self.small.to_le_bytes());
        for (i, number) in self.numbers.iter().enumerate() {
            bytes[8 + 8 * i..][..8].copy_from_slice(&number.to_le_bytes());
        }
        bytes
    }

    /// As it came; `None` when its name is not known.
    pub fn from_bytes(bytes: &[u8; MESSAGE]) -> Option<Message> {
        let (name, _) = NAMES.iter().find(|(_, letters)| letters[..] == bytes[..4])?;
        let word = |at: usize| -> [u8; 8] { std::array::from_fn(|i| bytes[at + i]) };
        Some(Message {
            name: *name,
            small: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            numbers: [8, 16, 24].map(|at| u64::from_le_bytes(word(at))),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_round_trip_and_strangers_are_refused() {
        for (name, letters) in NAMES {
            let message = Message {
                name,
                small: 7,
                numbers: [1, u64::MAX, 3],
            };
            let bytes = message.to_bytes();
            assert_eq!(bytes[..4], letters);
            assert_eq!(Message::from_bytes(&bytes), Some(message));
        }
        assert_eq!(Message::from_bytes(&[b'G'; MESSAGE]), None);
    }
}
