//! Stretching a piece of sound by some samples.

/// `samples` (interleaved) without its first `skip` frames, as `wanted` frames. Cubic (Catmull-Rom) between samples: for the
/// 0.1 % that pacing asks for, its error lies below 16 bits for what is below a quarter of the rate.
pub(super) fn stretch(samples: &[f32], channels: u32, skip: u32, wanted: u32) -> Vec<f32> {
    let channels = (channels as usize).max(1);
    let given = samples.get(skip as usize * channels..).unwrap_or(&[]);
    let (frames, wanted) = (given.len() / channels, wanted as usize);
    if frames == wanted || frames == 0 {
        return given.to_vec();
    }
    let step = frames as f64 / wanted.max(1) as f64;
    let at = |frame: isize, channel: usize| {
        let frame = frame.clamp(0, frames as isize - 1) as usize;
        given[frame * channels + channel]
    };
    let mut out = Vec::with_capacity(wanted * channels);
    for i in 0..wanted {
        let place = i as f64 * step;
        let (frame, t) = (place as isize, place.fract() as f32);
        for channel in 0..channels {
            let [a, b, c, d] = [-1, 0, 1, 2].map(|n| at(frame + n, channel));
            let (t2, t3) = (t * t, t * t * t);
            out.push(
                0.5 * (2.0 * b
                    + (c - a) * t
                    + (2.0 * a - 5.0 * b + 4.0 * c - d) * t2
                    + (3.0 * (b - c) + d - a) * t3),
            );
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(frames: usize, rate: f64) -> Vec<f32> {
        (0..frames)
            .flat_map(|i| {
                let v = (i as f64 * rate).sin() as f32;
                [v, -v]
            })
            .collect()
    }

    #[test]
    fn a_stretched_tone_is_the_tone_stretched() {
        let given = tone(960, 0.13);
        for wanted in [864, 959, 960, 961, 1_056] {
            let got = stretch(&given, 2, 0, wanted);
            let expected = tone(wanted as usize, 0.13 * 960.0 / f64::from(wanted));
            assert_eq!(got.len(), expected.len());
            let inner = 4..got.len() - 8;
            let worst = got[inner.clone()]
                .iter()
                .zip(&expected[inner])
                .map(|(a, b)| (a - b).abs())
                .fold(0.0, f32::max);
            assert!(worst < 2e-4, "{wanted}: {worst}");
        }
    }

    #[test]
    fn what_is_skipped_is_gone() {
        assert_eq!(stretch(&[1.0, 2.0, 3.0, 4.0], 1, 3, 1), [4.0]);
        assert_eq!(stretch(&[1.0], 1, 5, 1), [0.0_f32; 0]);
    }
}
