//! The screen and the loudspeaker: a pipeline each, since each has its own clock.

use gst::prelude::*;
use gst_app::AppSrc;
use synoptic_base::{Clock, Mono, Span};

use super::Sink;
use crate::MediaError;
use crate::session::decode::{internal, make};

/// Pictures on their way to the screen; a screen that takes none stops the player.
const SCREEN_BUFFERS: u64 = 4;
/// Silence with which a device is started: its clock runs before anything is to be heard.
const START_SILENCE: Span = Span::from_millis(100);

/// Makes the element that a person named, or takes one that is there.
fn element(sink: &Sink, what: &str) -> Result<gst::Element, MediaError> {
    match sink {
        Sink::Element(element) => Ok(element.clone()),
        Sink::Named(text) if text.contains([' ', '!', '=']) => gst::parse::bin_from_description(text, true)
            .map(gst::Bin::upcast)
            .map_err(|e| internal(&format!("the {what} `{text}` cannot be made: {e}"))),
        Sink::Named(name) => {
            let made = make(name)?;
            // Test sinks take everything at once unless told; all others wait for the time on each buffer.
            if made.has_property_with_type("sync", bool::static_type()) {
                made.set_property("sync", true);
            }
            Ok(made)
        }
    }
}

/// A pipeline `appsrc ! elements... ! sink` and its source.
fn pipeline(middle: &[&str], sink: &Sink, what: &str) -> Result<(gst::Pipeline, AppSrc), MediaError> {
    let failed = |_| internal(&format!("could not assemble the {what}"));
    let pipeline = gst::Pipeline::new();
    let source = AppSrc::builder().format(gst::Format::Time).build();
    let mut chain = vec![source.clone().upcast::<gst::Element>()];
    for name in middle {
        chain.push(make(name)?);
    }
    chain.push(element(sink, what)?);
    pipeline.add_many(&chain).map_err(failed)?;
    gst::Element::link_many(&chain).map_err(failed)?;
    Ok((pipeline, source))
}

/// The first error of a sink.
fn failure(pipeline: &gst::Pipeline, what: &str) -> Option<MediaError> {
    let message = pipeline.bus()?.pop_filtered(&[gst::MessageType::Error])?;
    let gst::MessageView::Error(error) = message.view() else {
        return None;
    };
    Some(MediaError::Broken {
        source_name: format!("the {what}"),
        why: error.error().message().trim_end_matches('.').to_owned(),
    })
}

fn stop(pipeline: &gst::Pipeline, what: &str) {
    if pipeline.set_state(gst::State::Null).is_err() {
        log::warn!("the {what} did not stop cleanly");
    }
}

/// Shows pictures at times of the monotonic clock.
pub(super) struct Screen {
    pipeline: gst::Pipeline,
    source: AppSrc,
}

impl Screen {
    pub(super) fn open(sink: &Sink) -> Result<Screen, MediaError> {
        let (pipeline, source) = pipeline(&["videoconvert"], sink, "screen")?;
        source.set_max_bytes(0);
        if source.has_property_with_type("max-buffers", u64::static_type()) {
            source.set_property("max-buffers", SCREEN_BUFFERS);
        }
        source.set_block(true);
        // A buffer's time is the monotonic clock's, no less.
        pipeline.use_clock(Some(&gst::SystemClock::obtain()));
        pipeline.set_start_time(gst::ClockTime::NONE);
        pipeline.set_base_time(gst::ClockTime::ZERO);
        if pipeline.set_state(gst::State::Playing).is_err() {
            return Err(failure(&pipeline, "screen").unwrap_or_else(|| internal("the screen did not start")));
        }
        Ok(Screen { pipeline, source })
    }

    /// Shows a decoded picture at `at`.
    pub(super) fn show(&self, picture: &gst::Sample, at: Mono) -> Result<(), MediaError> {
        let (Some(caps), Some(mut buffer)) = (picture.caps(), picture.buffer_owned()) else {
            return Ok(());
        };
        {
            let buffer = buffer.make_mut();
            buffer.set_pts(gst::ClockTime::from_nseconds(
                u64::try_from(at.as_nanos()).unwrap_or(0),
            ));
            buffer.set_dts(gst::ClockTime::NONE);
            buffer.set_duration(gst::ClockTime::NONE);
        }
        if self.source.caps().as_deref() != Some(caps) {
            self.source.set_caps(Some(&caps.to_owned()));
        }
        self.push(buffer)
    }

    fn push(&self, buffer: gst::Buffer) -> Result<(), MediaError> {
        self.source.push_buffer(buffer).map_err(|flow| {
            failure(&self.pipeline, "screen")
                .unwrap_or_else(|| internal(&format!("the screen is gone: {flow}")))
        })?;
        failure(&self.pipeline, "screen").map_or(Ok(()), Err)
    }

    /// Lets what was given out be shown, and files be closed.
    pub(super) fn finish(&self, patience: Span) {
        finish(&self.pipeline, &self.source, patience);
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        stop(&self.pipeline, "screen");
    }
}

/// Plays sound at device times, on the device's own clock.
pub(super) struct Speaker {
    pipeline: gst::Pipeline,
    source: AppSrc,
    /// Rate and channels, once something was played.
    format: Option<(u32, u32)>,
}

impl Speaker {
    pub(super) fn open(sink: &Sink) -> Result<Speaker, MediaError> {
        let (pipeline, source) = pipeline(&["audioconvert", "audioresample"], sink, "loudspeaker")?;
        source.set_max_bytes(0); // the pacer gives no more than the device needs
        Ok(Speaker {
            pipeline,
            source,
            format: None,
        })
    }

    /// Makes the device ready for sound of a format; the first call starts its clock.
    pub(super) fn prepare(&mut self, rate_hz: u32, channels: u32) -> Result<(), MediaError> {
        if self.format == Some((rate_hz, channels)) {
            return Ok(());
        }
        let mut caps = gst::Caps::builder("audio/x-raw")
            .field("format", "F32LE")
            .field("layout", "interleaved")
            .field("rate", rate_hz as i32)
            .field("channels", channels as i32);
        if channels > 2 {
            // Which is which the decoder did not say in a way that survives; the first two are heard as they are.
            caps = caps.field("channel-mask", gst::Bitmask::new((1 << channels.min(8)) - 1));
        }
        self.source.set_caps(Some(&caps.build()));
        let first = self.format.replace((rate_hz, channels)).is_none();
        if first {
            if self.pipeline.set_state(gst::State::Playing).is_err() {
                let other = || internal("the loudspeaker did not start; try --no-audio");
                return Err(failure(&self.pipeline, "loudspeaker").unwrap_or_else(other));
            }
            let frames = START_SILENCE.as_nanos() * i64::from(rate_hz) / 1_000_000_000;
            let silence = vec![0.0; (frames * i64::from(channels)) as usize];
            self.play(&silence, Span::ZERO)?;
        }
        Ok(())
    }

    /// Plays samples from a device time on.
    pub(super) fn play(&self, samples: &[f32], at: Span) -> Result<(), MediaError> {
        let Some((rate_hz, channels)) = self.format else {
            return Ok(());
        };
        let bytes: Vec<u8> = samples.iter().flat_map(|s| s.to_le_bytes()).collect();
        let mut buffer = gst::Buffer::from_mut_slice(bytes);
        if let Some(buffer) = buffer.get_mut() {
            let frames = samples.len() as u64 / u64::from(channels.max(1));
            buffer.set_pts(gst::ClockTime::from_nseconds(at.as_nanos().max(0) as u64));
            let length = frames * 1_000_000_000 / u64::from(rate_hz.max(1));
            buffer.set_duration(gst::ClockTime::from_nseconds(length));
        }
        self.source.push_buffer(buffer).map_err(|flow| {
            let other = || internal(&format!("the loudspeaker is gone: {flow}; try --no-audio"));
            failure(&self.pipeline, "loudspeaker").unwrap_or_else(other)
        })?;
        failure(&self.pipeline, "loudspeaker").map_or(Ok(()), Err)
    }

    /// The box's clock, and how much the device has played by then; `None` until it runs.
    pub(super) fn position(&self, clock: &dyn Clock) -> Option<(Mono, Span)> {
        if self.pipeline.current_state() != gst::State::Playing {
            return None;
        }
        let device = self.pipeline.clock()?;
        let base = self.pipeline.base_time()?;
        let before = clock.now();
        let time = device.time();
        let after = clock.now();
        let running = time.checked_sub(base).filter(|t| *t > gst::ClockTime::ZERO)?;
        Some((
            before + (after - before) / 2,
            Span::from_nanos(running.nseconds() as i64),
        ))
    }

    pub(super) fn pause(&self, paused: bool) {
        if self.format.is_none() {
            return;
        }
        let state = if paused {
            gst::State::Paused
        } else {
            gst::State::Playing
        };
        if self.pipeline.set_state(state).is_err() {
            log::warn!("the loudspeaker did not change to {state:?}");
        }
    }

    pub(super) fn finish(&self, patience: Span) {
        if self.format.is_some() {
            finish(&self.pipeline, &self.source, patience);
        }
    }
}

impl Drop for Speaker {
    fn drop(&mut self) {
        stop(&self.pipeline, "loudspeaker");
    }
}

/// Ends a stream and waits until its sink says so.
fn finish(pipeline: &gst::Pipeline, source: &AppSrc, patience: Span) {
    if source.end_of_stream().is_err() {
        return;
    }
    if let Some(bus) = pipeline.bus() {
        let wait = gst::ClockTime::from_nseconds(patience.to_std().as_nanos() as u64);
        // Nothing within that time: the sink is stopped as it is.
        bus.timed_pop_filtered(Some(wait), &[gst::MessageType::Eos, gst::MessageType::Error]);
    }
}
