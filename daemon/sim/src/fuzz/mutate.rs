//! Mutations of samples, for fuzzing without the guidance of coverage.

use rand::Rng;

/// Longest input.
const MAX: usize = 16 << 10;
/// Values at which parsers go wrong.
const EDGES: [u8; 8] = [0, 1, 0x7f, 0x80, 0xfe, 0xff, b'\n', b':'];

/// A sample with a few things changed: bits, edge values, pieces doubled, cut out or taken from another sample, its end cut
/// off. Now and then only noise.
pub fn mutated(samples: &[Vec<u8>], rng: &mut impl Rng) -> Vec<u8> {
    let any = |rng: &mut dyn rand::RngCore| samples[rng.random_range(0..samples.len())].clone();
    if samples.is_empty() || rng.random_ratio(1, 16) {
        let mut noise = vec![0; rng.random_range(0..2_000)];
        rng.fill_bytes(&mut noise);
        return noise;
    }
    let mut data = any(rng);
    for _ in 0..rng.random_range(1..8) {
        if data.is_empty() {
            break;
        }
        let at = rng.random_range(0..data.len());
        let length = rng.random_range(0..=(data.len() - at).min(64));
        match rng.random_range(0..8) {
            0 => data[at] ^= 1 << rng.random_range(0..8),
            1 => data[at] = EDGES[rng.random_range(0..EDGES.len())],
            2 => rng.fill_bytes(&mut data[at..at + length]),
            3 => data.truncate(at),
            4 => drop(data.drain(at..at + length)),
            5 => {
                let piece = data[at..at + length].to_vec();
                let to = rng.random_range(0..=data.len());
                data.splice(to..to, piece);
            }
            6 => {
                let other = any(rng);
                let from = rng.random_range(0..=other.len());
                data.splice(at..at, other[from..].iter().copied().take(length.max(16)));
            }
            _ => {
                // A length field or a counter that says something else.
                let end = (at + 4).min(data.len());
                data[at..end].fill(if rng.random() { 0xff } else { 0 });
            }
        }
    }
    data.truncate(MAX);
    data
}
