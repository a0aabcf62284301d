//! Cutting and listing, without pictures; the files of a real stream are looked at by players (`sim`).

use synoptic_base::{Captured, Epoch, Mono, Span, TimeSource, Utc};

use super::cut::{Cutter, Item, Limits, Piece};
use super::sounds::Sounds;
use super::window::Window;
use super::*;
use crate::coded::SoundCodec;

fn limits(picture_us: i64, gop_ms: i64) -> Limits {
    Limits::new(picture_us, Some(Span::from_millis(gop_ms)))
}

/// A stream of numbered pictures.
struct Feed {
    cutter: Cutter<u32>,
    step_us: i64,
    gop: u32,
    next: u32,
    at_us: i64,
    epoch: u32,
}

impl Feed {
    fn new(step_us: i64, gop: u32) -> Feed {
        Feed {
            cutter: Cutter::new(limits(step_us, step_us * i64::from(gop) / 1_000)),
            step_us,
            gop,
            next: 0,
            at_us: 5_000_000,
            epoch: 1,
        }
    }

    fn send(&mut self, pictures: u32, fresh: bool) -> Vec<Piece<u32>> {
        for n in 0..pictures {
            self.cutter.push(Item {
                epoch: Epoch(self.epoch),
                decode_us: self.at_us,
                utc: Some(Utc::from_nanos(self.at_us * 1_000)),
                keyframe: self.next.is_multiple_of(self.gop),
                fresh: fresh && n == 0,
                hint_us: 0,
                payload: self.next,
            });
            self.next += 1;
            self.at_us += self.step_us;
        }
        std::iter::from_fn(|| self.cutter.poll()).collect()
    }
}

#[test]
fn no_picture_is_lost_and_each_is_in_one_part_for_as_long_as_it_is_shown() {
    let mut feed = Feed::new(40_000, 25);
    let pieces = feed.send(500, true);
    let all: Vec<u32> = pieces.iter().flat_map(|p| &p.pictures).map(|(n, _)| *n).collect();
    // The last part is open, and of the last picture the length is not known.
    assert_eq!(all, (0..all.len() as u32).collect::<Vec<_>>());
    assert!(all.len() >= 490, "{}", all.len());
    assert!(
        pieces
            .iter()
            .flat_map(|p| &p.pictures)
            .all(|(_, us)| *us == 40_000)
    );
    let mut at = 5_000_000;
    for piece in &pieces {
        assert_eq!(piece.begin_us, at);
        at += piece.duration_us;
        assert_eq!(piece.utc, Some(Utc::from_nanos(piece.begin_us * 1_000)));
    }
}

#[test]
fn segments_begin_with_an_idr_picture_and_parts_keep_to_their_length() {
    // Camera rates, and GOPs from an half second to ten.
    for (step_us, gop) in [
        (40_000, 25),
        (66_667, 15),
        (33_333, 60),
        (40_000, 12),
        (200_000, 10),
        (16_667, 600),
    ] {
        let mut feed = Feed::new(step_us, gop);
        let limits = limits(step_us, step_us * i64::from(gop) / 1_000);
        let pieces = feed.send(3_000, true);
        let mut segment_us = 0;
        for piece in &pieces {
            assert!(
                piece.duration_us <= limits.part_us,
                "{step_us}: {}",
                piece.duration_us
            );
            let share = piece.duration_us as f64 / limits.part_us as f64;
            assert!(piece.ends || share >= 0.85, "{step_us}/{gop}: a part of {share}");
            assert_eq!(piece.begins, segment_us == 0);
            assert_eq!(piece.independent, piece.pictures[0].0 % gop == 0);
            assert!(
                !piece.begins || piece.independent,
                "{step_us}/{gop}: begins with no IDR picture"
            );
            segment_us += piece.duration_us;
            if piece.ends {
                let seconds = (segment_us as f64 / 1e6).round() as u64;
                assert!(seconds <= limits.target_s, "{segment_us} in {}", limits.target_s);
                assert!(segment_us >= 900_000);
                segment_us = 0;
            }
        }
    }
}

#[test]
fn who_sends_idr_pictures_far_apart_still_gets_segments_within_the_target() {
    let mut feed = Feed::new(100_000, 1_000);
    let pieces = feed.send(2_000, true);
    let lengths: Vec<i64> = pieces
        .split_inclusive(|p| p.ends)
        .filter(|s| s.last().is_some_and(|p| p.ends))
        .map(|s| s.iter().map(|p| p.duration_us).sum())
        .collect();
    assert!(lengths.len() > 10);
    assert!(
        lengths.iter().all(|us| (*us as f64 / 1e6).round() <= 12.0),
        "{lengths:?}"
    );
}

#[test]
fn a_break_ends_the_segment_and_marks_the_next_one() {
    let mut feed = Feed::new(40_000, 25);
    assert!(feed.send(30, true)[0].fresh);
    // Pictures are missing, then another epoch, whose times begin anew.
    feed.next = 100;
    feed.at_us += 700_000;
    let gap = feed.send(30, true);
    assert!(gap[0].ends, "the segment before is not ended");
    let begun = &gap[1];
    assert!(begun.fresh && begun.begins && begun.independent && begun.pictures[0].0 == 100);
    feed.next = 200;
    feed.at_us = 0;
    feed.epoch = 2;
    let pieces = feed.send(30, false);
    let begun = pieces.iter().find(|p| p.fresh).unwrap();
    assert!(begun.begins && begun.begin_us == 0 && begun.pictures[0].0 == 200);
}

fn window(segments: u64) -> Window {
    let mut window = Window::new(limits(40_000, 1_000), 100);
    for n in 0..segments {
        let fresh = n == 0 || n == 3;
        let init = fresh.then(|| Bytes::from(format!("init {n}")));
        window.begin(init, Some(Utc::from_nanos(1_795_000_000_123_456_789)));
        for part in 0..3 {
            window.part(Bytes::from(format!("{n}.{part} ")), 333_333, part == 0);
        }
        window.end();
    }
    window
}

fn text(found: Found) -> String {
    match found {
        Found::There(pieces) => pieces
            .iter()
            .map(|b| String::from_utf8_lossy(b).into_owned())
            .collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_playlist_says_all_that_a_player_needs() {
    let mut window = window(4);
    window.begin(None, None);
    window.part(Bytes::from_static(b"open"), 320_000, true);
    let expected = "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:2\n\
        #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.008,HOLD-BACK=6.0\n\
        #EXT-X-PART-INF:PART-TARGET=0.336\n#EXT-X-MEDIA-SEQUENCE:100\n#EXT-X-DISCONTINUITY-SEQUENCE:0\n\
        #EXT-X-MAP:URI=\"init-100.mp4\"\n#EXT-X-PROGRAM-DATE-TIME:";
    let playlist = window.playlist().unwrap();
    assert!(playlist.starts_with(expected), "{playlist}");
    assert!(
        playlist.contains(".123456Z\n#EXT-X-PART:DURATION=0.33333,URI=\"part-800.m4s\",INDEPENDENT=YES\n")
    );
    assert!(playlist.contains("#EXTINF:1.00000,\nseg-100.m4s\n"), "{playlist}");
    assert!(playlist.contains("seg-102.m4s\n#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-103.mp4\"\n"));
    assert!(
        playlist.ends_with(
            "seg-103.m4s\n#EXT-X-PART:DURATION=0.32000,URI=\"part-812.m4s\",INDEPENDENT=YES\n\
         #EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-813.m4s\"\n"
        ),
        "{playlist}"
    );
    assert_eq!(playlist.matches("EXT-X-MAP").count(), 2);
    assert_eq!(Window::new(limits(40_000, 1_000), 1).playlist(), None);
}

#[test]
fn what_is_listed_can_be_fetched_and_what_is_old_is_forgotten() {
    let window = window(40);
    let playlist = window.playlist().unwrap();
    for name in playlist.split(['"', '\n']).filter_map(File::named) {
        let found = match name {
            File::Init(n) => window.init(n),
            File::Segment(n) => window.segment(n),
            File::Part(n) => window.part_numbered(n),
            File::Playlist => continue,
        };
        let next = name == File::Part(window.next_part());
        assert_eq!(found == Found::NotYet, next, "{name:?}");
        assert_ne!(found, Found::Never, "{name:?}");
    }
    // The break of segment 103 has gone with it.
    assert!(
        playlist.contains("#EXT-X-DISCONTINUITY-SEQUENCE:1\n"),
        "{playlist}"
    );
    assert!(!playlist.contains("#EXT-X-DISCONTINUITY\n"));
    let listed: Vec<u64> = window.listed().map(|s| s.number).collect();
    assert!((8..=9).contains(&listed.len()), "{listed:?}");
    // Listed until a moment ago.
    let n = listed[0] - 105;
    assert_eq!(text(window.segment(n + 100)), format!("{n}.0 {n}.1 {n}.2 "));
    assert_eq!(window.segment(100), Found::Never);
    assert_eq!(window.part_numbered(800), Found::Never);
    assert_eq!(window.init(100), Found::Never, "no segment needs it");
    // Parts only near the end.
    let parts = playlist.matches("#EXT-X-PART:").count();
    assert!((16..=21).contains(&parts), "{parts}");
    // As many again that are listed no more, of 15 bytes each.
    assert!(window.bytes() <= 15 * 18, "{}", window.bytes());
}

#[test]
fn bytes_have_a_limit_whatever_is_listed() {
    let mut window = Window::new(limits(40_000, 1_000), 0);
    let heavy = Bytes::from(vec![0; 5 << 20]);
    for n in 0..20 {
        window.begin((n == 0).then(Bytes::new), None);
        (0..3).for_each(|_| window.part(heavy.clone(), 333_333, true));
        window.end();
        assert!(window.bytes() <= 48 << 20, "{}", window.bytes());
    }
    assert!(window.listed().count() >= 2);
}

#[test]
fn a_request_that_waits_is_answered_when_what_it_waits_for_is_there() {
    let mut window = window(2);
    assert_eq!(window.asked(101, None), Asked::There);
    assert_eq!(
        window.asked(101, Some(7)),
        Asked::There,
        "past the end of a segment"
    );
    assert_eq!(window.asked(102, None), Asked::NotYet);
    assert_eq!(window.asked(102, Some(0)), Asked::NotYet);
    assert_eq!(window.asked(104, Some(0)), Asked::NotYet);
    assert_eq!(window.asked(105, None), Asked::TooFar);
    assert_eq!(window.part_numbered(806), Found::NotYet);
    assert_eq!(window.part_numbered(807), Found::Never);
    assert_eq!(window.segment(102), Found::NotYet);
    window.begin(None, None);
    window.part(Bytes::from_static(b"x"), 300_000, true);
    assert_eq!(window.asked(102, Some(0)), Asked::There);
    assert_eq!(window.asked(102, Some(1)), Asked::NotYet);
    assert_eq!(window.asked(102, None), Asked::NotYet, "the segment is not whole");
    assert_eq!(text(window.part_numbered(806)), "x");
    assert_eq!(window.segment(102), Found::NotYet);
    window.end();
    assert_eq!(window.asked(102, None), Asked::There);
    assert_eq!(text(window.segment(102)), "x");
}

fn tone(epoch: u32, media_us: i64, codec: SoundCodec) -> Arc<CodedSound> {
    Arc::new(CodedSound {
        epoch: Epoch(epoch),
        media_us,
        captured: Captured {
            mono: Mono::from_nanos(media_us * 1_000),
            rel_error: Span::ZERO,
            source: TimeSource::SenderReport,
        },
        duration: Span::from_micros(20_000),
        format: Arc::new(SoundFormat {
            codec,
            rate_hz: 48_000,
            channels: 1,
            config: vec![0x11, 0x88],
            pre_skip: 0,
            transcoded: None,
        }),
        data: Bytes::from_static(b"tone"),
    })
}

#[test]
fn sound_goes_with_the_pictures_of_its_time_and_a_track_is_told_before_it_comes_or_goes() {
    let first = Epoch(1);
    let mut sounds = Sounds::new(None);
    assert!(
        !sounds.has_changed(first, 0) && !sounds.is_behind(first, 1),
        "silence is waited for by nobody"
    );
    (0..10).for_each(|n| sounds.push(tone(1, n * 20_000, SoundCodec::Aac)));
    assert!(sounds.has_changed(first, 100_000));
    // What sounded before the segment is left out, what begins before its end goes into the part.
    assert_eq!(sounds.begin(first, 60_000).unwrap().codec, SoundCodec::Aac);
    assert!(!sounds.has_changed(first, 100_000));
    assert!(!sounds.is_behind(first, 200_000) && sounds.is_behind(first, 200_001));
    let times = |samples: Vec<Sample>| samples.iter().map(|s| s.decode_us).collect::<Vec<_>>();
    assert_eq!(times(sounds.take(first, 100_000)), [60_000, 80_000]);
    assert_eq!(times(sounds.take(first, 100_000)), [0; 0]);
    // Another codec: not before it has been told.
    sounds.push(tone(1, 200_000, SoundCodec::Opus));
    assert!(sounds.has_changed(first, 210_000));
    assert_eq!(
        times(sounds.take(first, 300_000)),
        [100_000, 120_000, 140_000, 160_000, 180_000]
    );
    assert_eq!(sounds.begin(first, 300_000).unwrap().codec, SoundCodec::Opus);
    // An epoch begins: the rest of the one before is gone.
    sounds.push(tone(1, 320_000, SoundCodec::Opus));
    sounds.push(tone(2, 5_000, SoundCodec::Opus));
    assert_eq!(times(sounds.take(Epoch(2), 10_000)), [5_000]);
    // It stays away: the track is taken out.
    assert!(!sounds.has_changed(Epoch(2), 3_000_000));
    assert!(sounds.has_changed(Epoch(2), 4_100_000));
    assert!(sounds.begin(Epoch(2), 4_100_000).is_none());
}

#[test]
fn names_of_files_are_read_and_others_are_none() {
    assert_eq!(File::named("index.m3u8"), Some(File::Playlist));
    assert_eq!(File::named("init-7.mp4"), Some(File::Init(7)));
    assert_eq!(
        File::named("seg-1795000000.m4s"),
        Some(File::Segment(1_795_000_000))
    );
    assert_eq!(File::named("part-0.m4s"), Some(File::Part(0)));
    for other in [
        "",
        "seg-.m4s",
        "seg--1.m4s",
        "seg-+1.m4s",
        "seg-1.mp4",
        "init-1.m4s",
        "seg-1",
        "x",
        "../seg-1.m4s",
    ] {
        assert_eq!(File::named(other), None, "{other}");
    }
}
