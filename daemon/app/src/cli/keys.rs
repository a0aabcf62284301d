//! Keys of a terminal, one by one.

use std::io::{IsTerminal, Read};

use crossbeam_channel::{Receiver, unbounded};
use nix::sys::termios::{self, LocalFlags, SetArg, Termios};
use synoptic_base::Span;
use synoptic_media::play::PlayCommand;

/// What the arrow keys seek by: left and right, down and up.
const SEEK: Span = Span::from_secs(10);
const FAR: Span = Span::from_secs(60);

/// A terminal that gives keys without Return, until this is dropped.
pub(super) struct Keys {
    before: Termios,
}

impl Keys {
    /// Reads the keys of standard input; without a terminal there are none, and nothing is read.
    pub(super) fn read() -> (Option<Keys>, Receiver<PlayCommand>) {
        let (to_player, commands) = unbounded();
        let input = std::io::stdin();
        if !input.is_terminal() {
            return (None, commands);
        }
        let Ok(before) = termios::tcgetattr(&input) else {
            return (None, commands);
        };
        let mut raw = before.clone();
        // Ctrl-C comes as a key: so the terminal is left as it was.
        raw.local_flags
            .remove(LocalFlags::ICANON | LocalFlags::ECHO | LocalFlags::ISIG);
        if termios::tcsetattr(&input, SetArg::TCSANOW, &raw).is_err() {
            return (None, commands);
        }
        let read = std::thread::Builder::new().name("keys".into()).spawn(move || {
            let mut bytes = [0; 8];
            // The process ends with this thread waiting for a key.
            while let Ok(n @ 1..) = std::io::stdin().lock().read(&mut bytes) {
                if let Some(command) = command(&bytes[..n])
                    && to_player.send(command).is_err()
                {
                    return;
                }
            }
        });
        if let Err(error) = read {
            log::warn!("keys are not read: {error}");
        }
        (Some(Keys { before }), commands)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Err(error) = termios::tcsetattr(std::io::stdin(), SetArg::TCSANOW, &self.before) {
            log::warn!("the terminal stays without echo ({error}); `stty sane` mends it");
        }
    }
}

/// What a key means; arrows are three bytes (ECMA-48: ESC [ A to D).
fn command(key: &[u8]) -> Option<PlayCommand> {
    Some(match key {
        b"p" | b" " => PlayCommand::Pause,
        b"q" | b"\x03" | b"\x1b" => PlayCommand::Stop,
        b"\x1b[C" => PlayCommand::Seek(SEEK),
        b"\x1b[D" => PlayCommand::Seek(-SEEK),
        b"\x1b[A" => PlayCommand::Seek(FAR),
        b"\x1b[B" => PlayCommand::Seek(-FAR),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_ffplay_has() {
        assert_eq!(command(b"p"), Some(PlayCommand::Pause));
        assert_eq!(command(b"\x03"), Some(PlayCommand::Stop));
        assert_eq!(command(b"\x1b[D"), Some(PlayCommand::Seek(Span::from_secs(-10))));
        assert_eq!(command(b"x"), None);
    }
}
