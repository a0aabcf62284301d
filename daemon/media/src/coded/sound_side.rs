//! The sound of a coded stream: what its camera sends, what the box makes of it for those who cannot take that, and who else
//! hears it: variants of the stream, and a panorama that has the sound of one of its cameras.

use std::sync::{Arc, Weak};

use super::queue::Queue;
use super::sound::{SoundForm, SoundFormat, SoundUnit, SoundWant};
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
    aac: SoundLine,
    /// Opus that the box makes of it.
    opus: SoundLine,
    shown: Option<Shown>,
    /// Streams of other pictures with the same sound.
    to: Vec<Weak<CodedStream>>,
}

impl SoundSide {
    fn line(&self, form: SoundForm) -> &SoundLine {
        match form {
            SoundForm::Native => &self.native,
            SoundForm::Aac => &self.aac,
            SoundForm::Opus => &self.opus,
        }
    }

    fn line_mut(&mut self, form: SoundForm) -> &mut SoundLine {
        match form {
            SoundForm::Native => &mut self.native,
            SoundForm::Aac => &mut self.aac,
            SoundForm::Opus => &mut self.opus,
        }
    }

    /// What a reader who wants `want` gets; `None` before the camera's first frame.
    fn form(&self, want: SoundWant) -> Option<SoundForm> {
        let format = self.native.format.as_ref()?;
        Some(want.form(format.codec))
    }

    fn format(&self, want: SoundWant) -> Option<Arc<SoundFormat>> {
        self.line(self.form(want)?).format.clone()
    }

    /// Gives who joins the sound of the pictures that it was given.
    pub(super) fn catch_up(&self, queue: &Queue) {
        let Some(form) = queue.sound.and_then(|want| self.form(want)) else {
            return;
        };
        self.line(form).recent().for_each(|sound| queue.sound(sound));
    }

    /// The side of another stream that has the same sound.
    pub(super) fn alike(&self) -> SoundSide {
        SoundSide {
            native: self.native.alike(),
            aac: self.aac.alike(),
            opus: self.opus.alike(),
            ..SoundSide::default()
        }
    }

    /// Nothing comes any more.
    pub(super) fn stop(&mut self) {
        for form in SoundForm::ALL {
            self.line_mut(form).clear();
        }
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
            for form in SoundForm::ALL {
                self.sound.line_mut(form).begin_gop(shown);
            }
        }
        self.sound.shown = Some(shown);
        self.release();
    }

    fn release(&mut self) {
        let Some(shown) = self.sound.shown else { return };
        for form in SoundForm::ALL {
            while let Some(sound) = self.sound.line_mut(form).poll(shown) {
                for reader in &self.readers {
                    if reader.sound.and_then(|want| self.sound.form(want)) == Some(form) {
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

    /// Whether somebody wants the sound in this form, which the box would have to make.
    pub(crate) fn wants_sound(&self, form: SoundForm) -> bool {
        let here = {
            let state = self.lock();
            let wants = |want| state.sound.form(want) == Some(form);
            state.readers.iter().any(|reader| reader.sound.is_some_and(wants))
        };
        here || self.listeners().iter().any(|listener| listener.wants_sound(form))
    }

    /// Sound came: as the camera sends it, or coded by the box.
    pub(crate) fn sound(&self, unit: &SoundUnit, form: SoundForm) {
        {
            let mut state = self.lock();
            state.sound.line_mut(form).push(unit.clone());
            state.release();
        }
        for listener in self.listeners() {
            listener.sound(unit, form);
        }
    }

    /// Nobody makes this form of the sound any more.
    pub(crate) fn sound_coder_stopped(&self, form: SoundForm) {
        self.lock().sound.line_mut(form).clear();
        for listener in self.listeners() {
            listener.sound_coder_stopped(form);
        }
    }
}
