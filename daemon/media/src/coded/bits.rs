//! Bits of a raw byte sequence payload, with Exp-Golomb codes (ITU-T H.264 section 9.1).

/// Reads bits, most significant first; `None` at the end.
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> BitReader<'a> {
        BitReader { bytes, at: 0 }
    }

    /// The position of the next bit.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    /// The next `n` bits, 32 at most.
    pub(crate) fn take(&mut self, n: usize) -> Option<u32> {
        let mut value = 0_u32;
        for _ in 0..n {
            let byte = self.bytes.get(self.at / 8)?;
            value = (value << 1) | u32::from((byte >> (7 - self.at % 8)) & 1);
            self.at += 1;
        }
        Some(value)
    }

    /// ue(v).
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while self.take(1)? == 0 {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1_u32 << zeros) - 1 + self.take(zeros)?)
    }

    /// se(v).
    pub(super) fn se(&mut self) -> Option<i32> {
        let code = i64::from(self.ue()?);
        let value = if code % 2 == 1 {
            (code + 1) / 2
        } else {
            -(code / 2)
        };
        i32::try_from(value).ok()
    }
}

/// Writes bits, most significant first.
#[derive(Default)]
pub(super) struct BitWriter {
    bytes: Vec<u8>,
    /// Bits used of the last byte, 0 when it is full.
    used: usize,
}

impl BitWriter {
    /// The lowest `n` bits of `value`.
    pub(super) fn put(&mut self, value: u32, n: usize) {
        for i in (0..n).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            let bit = ((value >> i) & 1) as u8;
            if let Some(last) = self.bytes.last_mut() {
                *last |= bit << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// ue(v).
    pub(super) fn ue(&mut self, value: u32) {
        let code = value.saturating_add(1);
        let bits = 32 - code.leading_zeros() as usize;
        self.put(0, bits - 1);
        self.put(code, bits);
    }

    /// The first `n` bits of `bytes`.
    pub(super) fn copy(&mut self, bytes: &[u8], n: usize) {
        let mut from = BitReader::new(bytes);
        for _ in 0..n {
            if let Some(bit) = from.take(1) {
                self.put(bit, 1);
            }
        }
    }

    /// What was written; the last byte is filled up with zeros.
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = BitWriter::default();
        out.put(5, 3);
        for value in [0, 1, 2, 7, 255, 65_535, 1 << 30] {
            out.ue(value);
        }
        let bytes = out.finish();
        let mut bits = BitReader::new(&bytes);
        assert_eq!(bits.take(3), Some(5));
        for value in [0, 1, 2, 7, 255, 65_535, 1 << 30] {
            assert_eq!(bits.ue(), Some(value));
        }
        assert_eq!(BitReader::new(&[0; 9]).ue(), None);
        // se(v): 1 → 1, 2 → −1, 3 → 2.
        assert_eq!(BitReader::new(&[0b0100_1100]).se(), Some(1));
        assert_eq!(BitReader::new(&[0b0110_0000]).se(), Some(-1));
    }
}
