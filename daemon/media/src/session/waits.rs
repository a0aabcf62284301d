//! How long a thread of ours waited for a processor before it read what had arrived: what the box itself adds to an
//! arrival. The kernel counts it for every thread (`/proc/thread-self/schedstat`, second field: "time spent waiting on a
//! runqueue" in nanoseconds, Documentation/scheduler/sched-stats.rst of Linux).
//!
//! All that a thread waited since it read the last packet may have passed while this one lay there: that is a bound, not a
//! measurement. Looked at only while a stream is young, when its bounds rest on its first frames.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::os::unix::fs::FileExt;

use synoptic_base::{Mono, Span};

/// A stream is young for so long.
const YOUNG: Span = Span::from_secs(30);
/// A shorter wait is what every machine has.
const NOTICED: Span = Span::from_millis(5);
/// A thread that served another connection before waited for that one too: nothing lies longer before it is read.
const LONGEST: Span = Span::from_secs(2);
/// Waits remembered until the packet's picture leaves the decoder.
const REMEMBERED: usize = 256;

thread_local! {
    /// The counter of this thread, and its value at the last look; `None` within where the kernel has none.
    static COUNTER: RefCell<Option<(Option<File>, u64)>> = const { RefCell::new(None) };
}

/// Nanoseconds of waiting in the text of a counter.
fn parse(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    text.split_ascii_whitespace().nth(1)?.parse().ok()
}

fn read(file: &File) -> Option<u64> {
    let mut text = [0; 96];
    let length = file.read_at(&mut text, 0).ok()?;
    parse(&text[..length])
}

/// What this thread waited for a processor since the last call, from its beginning at the first one; zero where the kernel
/// does not count.
fn of_this_thread() -> Span {
    COUNTER.with_borrow_mut(|counter| {
        let (file, last) = counter.get_or_insert_with(|| (File::open("/proc/thread-self/schedstat").ok(), 0));
        let Some(now) = file.as_ref().and_then(read) else {
            return Span::ZERO;
        };
        let waited = now.saturating_sub(std::mem::replace(last, now));
        Span::from_nanos(i64::try_from(waited).unwrap_or(i64::MAX)).min(LONGEST)
    })
}

/// What this thread waited until now is not the next packet's.
pub(super) fn forget() {
    of_this_thread();
}

/// The waits of one connection.
#[derive(Debug, Default)]
pub(super) struct Waits {
    began: Option<Mono>,
    told: VecDeque<(Mono, Span)>,
}

impl Waits {
    /// Something was read at `arrival` by the thread that calls this.
    pub(super) fn look(&mut self, arrival: Mono) {
        let began = *self.began.get_or_insert(arrival);
        if arrival - began <= YOUNG {
            self.waited(arrival, of_this_thread());
        }
    }

    fn waited(&mut self, arrival: Mono, by: Span) {
        if by < NOTICED {
            return;
        }
        if self.told.len() == REMEMBERED {
            self.told.pop_front();
        }
        self.told.push_back((arrival, by));
    }

    /// What was read at `arrival` may have waited for as long; `None`: hardly.
    pub(super) fn of(&self, arrival: Mono) -> Option<Span> {
        let told = self.told.iter().find(|(at, _)| *at == arrival);
        told.map(|(_, by)| *by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        assert_eq!(parse(b"1062741 350093 12\n"), Some(350_093));
        for rubbish in [&b""[..], b"5", b"a b c", b"\xff\xff", b"1 -2 3"] {
            assert_eq!(parse(rubbish), None);
        }
        // Whatever this machine's kernel counts: the second look begins where the first one ended.
        let (first, second) = (of_this_thread(), of_this_thread());
        assert!(first >= Span::ZERO && second >= Span::ZERO);
    }

    #[test]
    fn long_waits_are_kept_while_a_stream_is_young() {
        let at = |s: i64| Mono::from_nanos(s * 1_000_000_000);
        let mut waits = Waits::default();
        waits.look(at(0));
        waits.waited(at(1), Span::from_millis(400));
        waits.waited(at(2), Span::from_millis(1));
        assert_eq!(waits.of(at(1)), Some(Span::from_millis(400)));
        assert_eq!(waits.of(at(2)), None);
        (3..1_000).for_each(|s| waits.waited(at(s), Span::from_millis(9)));
        assert_eq!((waits.told.len(), waits.of(at(1))), (REMEMBERED, None));
        let before = waits.told.len();
        waits.look(at(2_000));
        assert_eq!(
            waits.told.len(),
            before,
            "an old stream's first frames are long gone"
        );
    }
}
