//! The book of stream starts: what is news about when a stream began, and what is the same stream again.
//!
//! A server that relays RTMP or FLV keeps the sender's time stamps: who connects again finds the same time line, and what
//! was known of its beginning still holds, also what was learned better than this time.

use std::collections::{BTreeMap, VecDeque};

use synoptic_base::{Epoch, Span, StreamId, StreamStart};

/// Epochs remembered of each stream: keys of events that are looked at a day later are among them.
const KEPT: usize = 16;
/// Two beginnings that are not known better than this together cannot be told to be one.
const TELLABLE: Span = Span::from_secs(5);
/// What the prediction of an earlier epoch loses by the drift that is left after it was measured.
const AGEING_PPM: i64 = 20;
/// An earlier beginning that was remembered longer than this proves nothing.
const MEMORY: Span = Span::from_secs(30 * 86_400);

/// News about when a stream began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum StartNews {
    /// An epoch began on a time line of its own.
    Began(StreamStart),
    /// An epoch began on the time line of an earlier one: the sender went on meanwhile.
    GoesOn(StreamStart, Epoch),
    /// It is known better, or has to be corrected by `moved`.
    Better {
        /// As it is known now.
        start: StreamStart,
        /// New minus old.
        moved: Span,
    },
}

impl StartNews {
    /// The start as it is known now.
    pub fn start(&self) -> &StreamStart {
        match self {
            StartNews::Began(start) | StartNews::GoesOn(start, _) | StartNews::Better { start, .. } => start,
        }
    }
}

impl std::fmt::Display for StartNews {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let known = |start: &StreamStart| match start.error {
            Some(error) => format!("{} ± {error}, by {}", start.utc, start.source.name()),
            None => format!("{} by a box clock that is not synchronised", start.utc),
        };
        match self {
            StartNews::Began(start) => write!(f, "epoch {} began at {}", start.epoch.0, known(start)),
            StartNews::GoesOn(start, earlier) => write!(
                f,
                "epoch {} goes on with the time stamps of epoch {}: the sender was not restarted; it began at {}",
                start.epoch.0,
                earlier.0,
                known(start)
            ),
            StartNews::Better { start, moved } => write!(
                f,
                "epoch {} is now known to have begun at {} ({moved} later than told before)",
                start.epoch.0,
                known(start)
            ),
        }
    }
}

/// Beginnings of the last epochs of each stream.
#[derive(Clone, Debug, Default)]
pub struct StartBook {
    streams: BTreeMap<StreamId, VecDeque<StreamStart>>,
}

impl StartBook {
    /// Takes what an earlier run of the program knew, oldest first.
    pub fn restore(&mut self, known: impl IntoIterator<Item = StreamStart>) {
        for start in known {
            self.keep(start);
        }
    }

    /// Beginnings of a stream's epochs, oldest first.
    pub fn of(&self, stream: &StreamId) -> impl DoubleEndedIterator<Item = &StreamStart> {
        self.streams.get(stream).into_iter().flatten()
    }

    /// All of them, oldest first within a stream.
    pub fn all(&self) -> Vec<StreamStart> {
        self.streams.values().flatten().copied().collect()
    }

    /// Takes when the running epoch began as it is known now; `Some` when that is news to be told and stored.
    pub fn see(&mut self, now: StreamStart) -> Option<StartNews> {
        let known = self.of(&now.stream).find(|s| s.epoch == now.epoch).copied();
        let Some(known) = known else {
            let earlier = self.of(&now.stream).rev().find_map(|s| goes_on(s, &now));
            let news = match earlier {
                Some((start, epoch)) => StartNews::GoesOn(start, epoch),
                None => StartNews::Began(now),
            };
            self.keep(*news.start());
            return Some(news);
        };
        let moved = now.utc - known.utc;
        let better = match (known.error, now.error) {
            (None, Some(_)) => true,
            (Some(before), Some(after)) => after * 2 <= before || moved.abs() > before + after,
            (_, None) => false,
        };
        if !better {
            return None;
        }
        self.keep(now);
        Some(StartNews::Better { start: now, moved })
    }

    fn keep(&mut self, start: StreamStart) {
        let epochs = self.streams.entry(start.stream).or_default();
        match epochs.iter_mut().find(|s| s.epoch == start.epoch) {
            Some(known) => *known = start,
            None => {
                if epochs.len() == KEPT {
                    epochs.pop_front();
                }
                epochs.push_back(start);
            }
        }
    }
}

/// Whether `now` has the time line of `earlier`; then its beginning by whichever is known better, and that epoch.
fn goes_on(earlier: &StreamStart, now: &StreamStart) -> Option<(StreamStart, Epoch)> {
    let numbering = now.numbering?;
    if earlier.numbering?.clock_rate_hz != numbering.clock_rate_hz {
        return None;
    }
    let predicted = earlier.utc_of_timestamp(numbering.first, now.utc)?;
    let age = predicted - earlier.utc;
    if !(Span::ZERO..=MEMORY).contains(&age) {
        return None;
    }
    let ageing = Span::from_nanos(age.as_nanos() / 1_000_000 * AGEING_PPM);
    let (before, own) = (earlier.error? + ageing, now.error?);
    if before + own > TELLABLE || (predicted - now.utc).abs() > before + own {
        return None;
    }
    let best = if before < own {
        StreamStart {
            utc: predicted,
            error: Some(before),
            source: earlier.source,
            ..*now
        }
    } else {
        *now
    };
    Some((best, earlier.epoch))
}

#[cfg(test)]
mod tests {
    use synoptic_base::{Numbering, TimeSource, Utc};

    use super::*;

    fn start(epoch: u32, at_ms: i64, error_ms: i64, first: u32) -> StreamStart {
        StreamStart {
            stream: StreamId::new("cam").unwrap(),
            epoch: Epoch(epoch),
            utc: Utc::from_nanos(1_790_000_000_000_000_000) + Span::from_millis(at_ms),
            error: Some(Span::from_millis(error_ms)),
            source: TimeSource::InBand,
            numbering: Some(Numbering {
                first,
                clock_rate_hz: 1_000,
            }),
            drift_ppm: None,
        }
    }

    #[test]
    fn a_stream_that_goes_on_keeps_what_was_known_and_a_new_one_does_not() {
        let mut book = StartBook::default();
        let first = start(1, 0, 20, 5_000);
        assert_eq!(book.see(first), Some(StartNews::Began(first)));
        assert_eq!(book.see(start(1, 3, 15, 5_000)), None, "no news");
        // Ten minutes later, after a restart of the box: known by arrivals only, and 1.4 s off.
        let mut again = StartBook::default();
        again.restore(book.all());
        let joined = StreamStart {
            source: TimeSource::Arrival,
            ..start(2, 601_400, 1_500, 605_000)
        };
        let Some(StartNews::GoesOn(known, of)) = again.see(joined) else {
            panic!("it goes on")
        };
        assert_eq!((of, known.source), (Epoch(1), TimeSource::InBand));
        assert_eq!(known.utc - first.utc, Span::from_secs(600));
        assert_eq!(
            known.error,
            Some(Span::from_millis(32)),
            "20 ms, and 20 ppm of 600 s"
        );
        // The sender began anew.
        let anew = start(3, 900_000, 1_500, 40);
        assert_eq!(again.see(anew), Some(StartNews::Began(anew)));
        assert_eq!(again.of(&anew.stream).count(), 3);
    }

    #[test]
    fn better_knowledge_is_news_and_the_box_that_learns_the_time_too() {
        let mut book = StartBook::default();
        let blind = StreamStart {
            error: None,
            ..start(1, 90_000, 0, 0)
        };
        assert!(book.see(blind).unwrap().to_string().contains("not synchronised"));
        let told = book.see(start(1, 0, 100, 0)).unwrap();
        assert!(matches!(told, StartNews::Better { moved, .. } if moved == Span::from_secs(-90)));
        assert_eq!(book.see(start(1, 10, 60, 0)), None);
        assert!(book.see(start(1, 10, 40, 0)).is_some(), "half the error");
        assert!(book.see(start(1, 500, 40, 0)).is_some(), "contradicted");
        assert_eq!(book.see(blind), None);
    }

    #[test]
    fn the_book_is_bounded() {
        let mut book = StartBook::default();
        for epoch in 0..100 {
            book.see(start(epoch, i64::from(epoch) * 1_000_000, 1, 0));
        }
        let epochs: Vec<u32> = book.all().iter().map(|s| s.epoch.0).collect();
        assert_eq!(epochs, (84..100).collect::<Vec<_>>());
    }
}
