//! Coded pictures on their way out: from the cameras' parsers and the box's encoders to whoever watches.
//!
//! Terms: a **coded stream** is what one camera (or panorama) offers; its **native** pictures are those that the camera
//! coded, its **encoded** ones those that the box coded anew. A **reader** gets native pictures where a browser can play
//! them as they are, and encoded ones where not ([`Want::Playable`]). Who decodes them itself gets those of files **ahead**
//! of the time at which they are shown ([`Want::Ahead`]). A **GOP** begins with an IDR picture.
//!
//! A camera whose **sound** is taken has a second track beside its pictures, on their time line ([`SoundWant`]).
//!
//! Every picture has the key of the decoded frame, and none waits for the decoder to get it (`session::tap`).
//!
//! What is full, and what happens then:
//!
//! | what | limit | at the limit |
//! |---|---|---|
//! | the last GOP, for who joins | 16 MiB | it is let go: who joins waits for the next IDR |
//! | a reader's queue | 16 MiB, or 3 s without having been empty | it is emptied to the next IDR, with a gap mark |
//! | a reader that never caught up | 10 s | it is dropped, alone |
//!
//! Without a reader a picture costs a reference to GStreamer's buffer: nothing is copied, escaped or written.

mod bits;
mod format;
mod frame;
mod queue;
mod relay;
mod sound;
mod sound_line;
mod sound_side;
mod sps;
mod stream;

pub(crate) use bits::BitReader;
pub use format::{CodedFormat, VideoCodec};
pub(crate) use frame::{AccessUnit, Framing, nals};
pub use frame::{CodedFrame, Slot};
pub use queue::{CodedEvent, Ended, GapReason, Subscription};
pub use relay::Relay;
pub use sound::{CodedSound, SoundCodec, SoundFormat, SoundWant};
pub(crate) use sound::{SoundForm, SoundUnit};
pub use sps::Sps;
pub use stream::{CodedStream, Variant, Want};
