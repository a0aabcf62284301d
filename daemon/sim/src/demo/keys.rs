//! Single keys from a terminal, without waiting for Enter.

use std::io::{self, IsTerminal, Read};

use crossbeam_channel::Sender;
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

/// The terminal as single keys; put back as it was when dropped. Ctrl-C stays a signal.
pub(super) struct Keys {
    before: Termios,
}

impl Keys {
    /// Sends every key to `keys`; `None` when input or output is no terminal.
    pub(super) fn listen(keys: Sender<u8>) -> Option<Keys> {
        if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
            return None;
        }
        let before = tcgetattr(io::stdin()).ok()?;
        let mut single = before.clone();
        single.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
        tcsetattr(io::stdin(), SetArg::TCSANOW, &single).ok()?;
        let guard = Keys { before };
        // Not joined: it waits in a read that only a key ends. It holds nothing that must be cleaned up.
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || {
                let mut key = [0];
                while matches!(io::stdin().read(&mut key), Ok(1)) && keys.send(key[0]).is_ok() {}
            })
            .ok()?;
        Some(guard)
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Err(e) = tcsetattr(io::stdin(), SetArg::TCSANOW, &self.before) {
            log::warn!("the terminal stays without echo ({e}): type `reset`");
        }
    }
}
