//! Which blobs have lasted: noise flickers, things stay.

use synoptic_base::{Mono, Span};

use super::blobs::Blob;

/// A blob is reported once it has been there for this long, in two pictures at least.
const CONFIRM: Span = Span::from_millis(100);
/// A blob may be missing for this long and is still the same.
const MISSED: Span = Span::from_millis(350);
/// A blob is the same as one before when their boxes come this near, as a fraction of the picture's width: a
/// runner 5 m away crosses that in 100 ms.
const REACH: f32 = 0.05;

struct Sighting {
    blob: Blob,
    since: Mono,
    last: Mono,
}

/// The blobs of late.
#[derive(Default)]
pub(super) struct Sightings {
    list: Vec<Sighting>,
}

impl Sightings {
    /// Takes the blobs of the picture captured at `now` and says for how long each has been there.
    /// `width` is cells across.
    pub(super) fn ages(&mut self, blobs: &[Blob], now: Mono, width: usize) -> Vec<Span> {
        let reach = (REACH * width as f32) as usize;
        let old = std::mem::take(&mut self.list);
        let mut ages = Vec::with_capacity(blobs.len());
        for blob in blobs {
            // What splits or joins is as old as its oldest part.
            let since = old
                .iter()
                .filter(|s| s.blob.near(blob, reach))
                .map(|s| s.since)
                .min()
                .unwrap_or(now);
            ages.push(now - since);
            self.list.push(Sighting {
                blob: blob.clone(),
                since,
                last: now,
            });
        }
        let missing = old
            .into_iter()
            .filter(|s| now - s.last < MISSED && !blobs.iter().any(|b| b.near(&s.blob, reach)));
        self.list.extend(missing);
        ages
    }

    /// Whether a blob of this age is reported.
    pub(super) fn is_confirmed(age: Span) -> bool {
        age >= CONFIRM
    }
}
