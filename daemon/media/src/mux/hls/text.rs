//! The playlist (8216bis sections 4.4 and 6.2).

use std::fmt::Write as _;

use super::window::{Segment, Window};

/// What a player holds back: parts (section 4.4.3.8: at least two, better three) or target durations (at least three).
const HOLD_BACK: f64 = 3.0;
/// Target durations from the end within which parts are listed (section 6.2.2).
const PARTS_WITHIN: i64 = 3;

impl Window {
    /// The playlist; `None` while there is nothing to play.
    pub(super) fn playlist(&self) -> Option<String> {
        let limits = self.limits();
        let (target, part) = (limits.target_s, ceil_ms(limits.part_us));
        self.listed().find(|s| !s.parts.is_empty())?;
        let mut out = format!(
            "#EXTM3U\n#EXT-X-VERSION:9\n#EXT-X-TARGETDURATION:{target}\n\
             #EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK={:.3},HOLD-BACK={:.1}\n\
             #EXT-X-PART-INF:PART-TARGET={part:.3}\n#EXT-X-MEDIA-SEQUENCE:{}\n#EXT-X-DISCONTINUITY-SEQUENCE:{}\n",
            HOLD_BACK * part,
            HOLD_BACK * target as f64,
            self.listed_from(),
            self.breaks_before(),
        );
        let mut left_us: i64 = self.listed().map(Segment::duration_us).sum();
        let mut init = None;
        for segment in self.listed() {
            // That of the first one is counted in the discontinuity sequence only when it has gone.
            if segment.fresh {
                out.push_str("#EXT-X-DISCONTINUITY\n");
            }
            if init.replace(segment.init) != Some(segment.init) {
                line(
                    &mut out,
                    format_args!("#EXT-X-MAP:URI=\"init-{}.mp4\"", segment.init),
                );
            }
            if let Some(utc) = segment.utc {
                line(
                    &mut out,
                    format_args!("#EXT-X-PROGRAM-DATE-TIME:{}", utc.to_rfc3339()),
                );
            }
            if left_us <= PARTS_WITHIN * target as i64 * 1_000_000 || !segment.ended {
                for part in &segment.parts {
                    let independent = if part.independent { ",INDEPENDENT=YES" } else { "" };
                    line(
                        &mut out,
                        format_args!(
                            "#EXT-X-PART:DURATION={:.5},URI=\"part-{}.m4s\"{independent}",
                            part.duration_us as f64 / 1e6,
                            part.number
                        ),
                    );
                }
            }
            let length_us = segment.duration_us();
            left_us -= length_us;
            if segment.ended {
                line(
                    &mut out,
                    format_args!(
                        "#EXTINF:{:.5},\nseg-{}.m4s",
                        length_us as f64 / 1e6,
                        segment.number
                    ),
                );
            }
        }
        line(
            &mut out,
            format_args!(
                "#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"part-{}.m4s\"",
                self.next_part()
            ),
        );
        Some(out)
    }
}

/// Seconds, rounded up to milliseconds: no part may be longer than what is written.
fn ceil_ms(us: i64) -> f64 {
    (us as f64 / 1e3).ceil() / 1e3
}

fn line(out: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string does not fail.
    writeln!(out, "{text}").ok();
}
