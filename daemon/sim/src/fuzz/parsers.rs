//! Parsers of the wire under any bytes.

use synoptic_base::{Span, Utc};
use synoptic_engine::timebase::wire::{
    self, ExtensionKind, FlvClock, FlvError, FlvItem, FlvReader, Playlist, packet_times, reference_clock,
    sei_times, synoptic_sei, ts_units,
};

const NOW: Utc = Utc::from_nanos(1_795_000_000_000_000_000);

/// Everything a reader gives for pieces of `size` bytes, and how it ends.
fn flv_items(data: &[u8], size: usize) -> (Vec<FlvItem>, Option<FlvError>) {
    let mut reader = FlvReader::default();
    let mut items = Vec::new();
    for piece in data.chunks(size) {
        reader.push(piece);
        loop {
            match reader.poll() {
                Ok(Some(item)) => items.push(item),
                Ok(None) => break,
                Err(error) => return (items, Some(error)),
            }
        }
    }
    assert!(reader.held() <= data.len());
    (items, None)
}

/// Bytes in pieces of any size give the same items as all at once, and never more than came in.
pub(super) fn flv(data: &[u8]) {
    let size = usize::from(data.first().copied().unwrap_or(0)) + 1;
    let whole = flv_items(data, data.len().max(1));
    assert_eq!(whole, flv_items(data, size), "in pieces of {size}");
    let mut clock = FlvClock::default();
    let mut bytes = 0;
    for item in whole.0 {
        bytes += match item {
            FlvItem::Config { record, .. } => record.len(),
            FlvItem::Picture { dts_ms, data, .. } => {
                clock.unwrap(dts_ms);
                data.len()
            }
            FlvItem::Script { body, .. } => {
                flv_script(&body);
                body.len()
            }
        };
    }
    assert!(bytes <= data.len());
}

/// A time that is told lies in the years that a sender can live in.
pub(super) fn flv_script(data: &[u8]) {
    let Some(time) = wire::flv_script(data) else {
        return;
    };
    let near = time.near(NOW);
    if time.local && (time.utc - NOW).abs() < Span::from_secs(86_400) {
        assert!((near - NOW).abs() <= Span::from_secs(450), "{near}");
    }
}

/// Units hold no more than the segment, and times of 33 bits.
pub(super) fn ts(data: &[u8]) {
    let Ok(units) = ts_units(data) else { return };
    assert!(units.iter().map(|u| u.data.len()).sum::<usize>() <= data.len());
    assert!(units.iter().all(|u| u.pts < 1 << 33 && u.dts < 1 << 33));
}

/// Segments are numbered in order, and dates go on by durations.
pub(super) fn m3u8(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let Ok(Playlist::Media(media)) = wire::playlist(&text) else {
        return;
    };
    for pair in media.segments.windows(2) {
        assert!(pair[0].duration >= Span::ZERO);
        if let (Some(before), Some(date), false, false) =
            (pair[0].date, pair[1].date, pair[1].dated, pair[1].discontinuity)
        {
            assert_eq!(date - before, pair[0].duration);
        }
    }
}

/// What we write we read, whatever stands before it.
pub(super) fn sei(data: &[u8]) {
    sei_times(data, 2);
    let found = sei_times(data, 1);
    assert!(found.iter().all(|t| t.utc > Utc::from_nanos(i64::MIN)));
    let mut nal = vec![6];
    let mut zeros = 0;
    for byte in synoptic_sei(NOW).into_iter().chain([0x80]) {
        if zeros == 2 && byte <= 3 {
            nal.push(3);
            zeros = 0;
        }
        zeros = if byte == 0 { zeros + 1 } else { 0 };
        nal.push(byte);
    }
    nal.extend_from_slice(data);
    assert_eq!(sei_times(&nal, 1).first().map(|t| t.utc), Some(NOW));
}

/// Times of a packet are few, whatever its extensions claim.
pub(super) fn hdrext(data: &[u8]) {
    let ids = [
        (1, ExtensionKind::Ntp64),
        (2, ExtensionKind::Ntp56),
        (3, ExtensionKind::AbsCaptureTime),
    ];
    let found = packet_times(data, &ids, NOW).count();
    assert!(found <= data.len() / 7, "{found} times in {} bytes", data.len());
}

/// A media clock that is understood gives a time near the one asked about.
pub(super) fn refclk(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let (clock, media) = text.split_once('\n').unwrap_or((&text, "direct=0"));
    if let Some((clock, _)) = reference_clock(clock, media) {
        for rate in [0, 1, 8_000, 90_000, u32::MAX] {
            // Any answer will do, as long as there is one or none.
            let _utc = clock.utc_of(u32::MAX, 7, rate, NOW);
        }
    }
}
