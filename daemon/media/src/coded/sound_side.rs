//! The sound of a coded stream: what its camera sends, what the box makes of it for those who cannot take that, and who else
//! hears it: variants of the stream, and a panorama that has the sound of one of its cameras.

use std::sync::{Arc, Weak};

use super::queue::Queue;
use super::sound::{SoundFormat, SoundUnit, SoundWant};
use super::sound_line::{Shown, SoundLine};
use super::stream::State;
use super::{CodedFrame, CodedStream};

/// The sound beside the pictures.
#[derive(Debug, Default)]
pub(super) struct SoundSide {
    /// The camera is read with its sound.
    taken: bool,
    /// As the camera sends it.
    native: SoundLine,
    /// AAC that the box makes of it.
    coded: SoundLine,
    shown: Option<Shown>,
    /// Streams of other pictures with the same sound.
    to: Vec<Weak<CodedStream>>,
}

impl SoundSide {
    /// Whether a reader who wants `want` gets what the camera sends; `None` before its first frame.
    fn is_native(&self, want: SoundWant) -> Option<bool> {
        let format = self.native.format.as_ref()?;
        Some(want.takes(format.codec))
    }

    fn format(&self, want: SoundWant) -> Option<Arc<SoundFormat>> {
        let line = match self.is_native(want)? {
            true => &self.native,
            false => &self.coded,
        };
        line.format.clone()
    }

    /// Gives who joins the sound of the pictures that it was given.
    pub(super) fn catch_up(&self, queue: &Queue) {
        let Some(native) = queue.sound.and_then(|want| self.is_native(want)) else {
            return;
        };
        let line = if native { &self.native } else { &self.coded };
        line.recent().for_each(|sound| queue.sound(sound));
    }

    /// The side of another stream that has the same sound.
    pub(super) fn alike(&self) -> SoundSide {
        SoundSide {
            native: self.native.alike(),
            coded: self.coded.alike(),
            ..SoundSide::default()
        }
    }

    /// Nothing comes any more.
    pub(super) fn stop(&mut self) {
        self.native.clear();
        self.coded.clear();
        self.shown = None;
    }
}

impl State {
    /// A picture left: so does the sound of before it.
    pub(super) fn follow(&mut self, frame: &CodedFrame) {
        let shown = Shown {
            epoch: frame.key.epoch,
            media_us: frame.key.media_us.as_micros(),
            captured: frame.captured.mono,
        };
        if frame.keyframe {
            self.sound.native.begin_gop(shown);
            self.sound.coded.begin_gop(shown);
        }
        self.sound.shown = Some(shown);
        self.release();
    }

    fn release(&mut self) {
        let Some(shown) = self.sound.shown else { return };
        for native in [true, false] {
            loop {
                let line = if native {
                    &mut self.sound.native
                } else {
                    &mut self.sound.coded
                };
                let Some(sound) = line.poll(shown) else { break };
                for reader in &self.readers {
                    if reader.sound.and_then(|want| self.sound.is_native(want)) == Some(native) {
                        reader.sound(&sound);
                    }
                }
            }
        }
    }
}

impl CodedStream {
    /// Whether the camera of this stream is to be read with its sound, from its next connection on.
    pub fn take_sound(&self, yes: bool) {
        self.lock().sound.taken = yes;
    }

    pub(crate) fn takes_sound(&self) -> bool {
        self.lock().sound.taken
    }

    /// From now on `other` has the sound of this stream, in step with its own pictures.
    pub fn send_sound_to(self: &Arc<Self>, other: &Arc<CodedStream>) {
        let mut state = self.lock();
        state
            .sound
            .to
            .retain(|to| to.upgrade().is_some_and(|to| !Arc::ptr_eq(&to, other)));
        state.sound.to.push(Arc::downgrade(other));
    }

    /// Ends that.
    pub fn keep_sound_from(&self, other: &Arc<CodedStream>) {
        let mut state = self.lock();
        state
            .sound
            .to
            .retain(|to| to.upgrade().is_some_and(|to| !Arc::ptr_eq(&to, other)));
    }

    /// The format of the sound that a reader would get; `None`: there is none, or none came yet.
    pub fn sound_format(&self, want: SoundWant) -> Option<Arc<SoundFormat>> {
        self.lock().sound.format(want)
    }

    /// What the camera's sound is, as it sends it.
    pub fn has_sound(&self) -> bool {
        self.sound_format(SoundWant::Native).is_some()
    }

    /// Others that have this stream's sound.
    fn listeners(&self) -> Vec<Arc<CodedStream>> {
        let state = self.lock();
        let linked = state.sound.to.iter().filter_map(Weak::upgrade);
        state.variants.iter().cloned().chain(linked).collect()
    }

    /// Whether somebody wants the sound that the camera sends as AAC, and it is something else.
    pub(crate) fn wants_aac(&self) -> bool {
        let here = {
            let state = self.lock();
            let wants = |want| state.sound.is_native(want) == Some(false);
            state.readers.iter().any(|reader| reader.sound.is_some_and(wants))
        };
        here || self.listeners().iter().any(|listener| listener.wants_aac())
    }

    /// Sound came: as the camera sends it (`native`), or coded by the box.
    pub(crate) fn sound(&self, unit: &SoundUnit, native: bool) {
        {
            let mut state = self.lock();
            let line = if native {
                &mut state.sound.native
            } else {
                &mut state.sound.coded
            };
            line.push(unit.clone());
            state.release();
        }
        for listener in self.listeners() {
            listener.sound(unit, native);
        }
    }

    /// Nobody codes the sound any more.
    pub(crate) fn sound_coder_stopped(&self) {
        self.lock().sound.coded.clear();
        for listener in self.listeners() {
            listener.sound_coder_stopped();
        }
    }
}
