//! `[web.webrtc]`.

use synoptic_media::webrtc::{IceServers, TurnServer};

use super::{Context, belongs_elsewhere};
use crate::config::reader::{Found, Section};
use crate::config::secret;

const EXAMPLE: &str = "write stun:HOST:PORT, turn:HOST:PORT, turn:HOST:PORT?transport=tcp or turns:HOST:PORT";

/// The servers of WebRTC.
pub(super) fn servers(web: &Section<'_, '_>, context: &Context<'_>) -> IceServers {
    let Some(section) = web.section("webrtc") else {
        return IceServers::default();
    };
    let stun = address(&section, section.filled("stun"), &["stun"]);
    let turn = address(&section, section.filled("turn"), &["turn", "turns"]);
    let user = section.filled("user");
    let password = secret::read(&section, "password", context.folder, context.machine);
    section.finish(belongs_elsewhere);
    for key in ["user", "password"] {
        match (section.has("turn"), section.has(key)) {
            (true, false) => section.missing(key, "a TURN server wants `user` and `password`"),
            (false, true) => section.missing("turn", "`user` and `password` are those of a TURN server"),
            _ => {}
        }
    }
    // They are told to browsers in a header (RFC 9725 section 4.6).
    let plain = |text: &str| {
        text.chars()
            .all(|c| (' '..='~').contains(&c) && !matches!(c, '"' | '\\'))
    };
    let hint = "use printable ASCII letters, without quotation marks and backslashes";
    if let Some(user) = user.as_ref().filter(|user| !plain(user.value)) {
        section.reader.error_at(user, "cannot be told to browsers", hint);
    }
    if let (Some(password), Some(place)) = (&password, section.find("password"))
        && !plain(password.expose())
    {
        section
            .reader
            .error_at(&place, "cannot be told to browsers", hint);
    }
    let login = user.zip(password);
    IceServers {
        stun,
        turn: turn.zip(login).map(|(url, (user, password))| TurnServer {
            url,
            user: user.value.to_owned(),
            password,
        }),
    }
}

/// An address of RFC 7064 or 7065, of one of these schemes.
fn address(section: &Section<'_, '_>, found: Option<Found<&str>>, schemes: &[&str]) -> Option<String> {
    let found = found?;
    if is_address(found.value, schemes) {
        return Some(found.value.to_owned());
    }
    let message = format!(
        "`{}` is no address of a {} server",
        found.value,
        schemes[0].to_uppercase()
    );
    section.reader.error_at(&found, message, EXAMPLE);
    None
}

fn is_address(text: &str, schemes: &[&str]) -> bool {
    let Some((scheme, rest)) = text.split_once(':').filter(|(s, _)| schemes.contains(s)) else {
        return false;
    };
    let (place, query) = rest.split_once('?').map_or((rest, None), |(p, q)| (p, Some(q)));
    let transport = scheme != "stun" && matches!(query, Some("transport=udp" | "transport=tcp"));
    if query.is_some() && !transport {
        return false;
    }
    // Whatever a URL takes for host and port, and nothing else.
    let url = url::Url::parse(&format!("http://{place}/"));
    url.is_ok_and(|url| {
        url.host_str().is_some() && url.path() == "/" && url.username().is_empty() && url.password().is_none()
    }) && !place.is_empty()
        && !place.contains(['/', '@', '#', '"', '<', '>'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_those_of_the_rfcs() {
        let stun = |text| is_address(text, &["stun"]);
        let turn = |text| is_address(text, &["turn", "turns"]);
        assert!(stun("stun:stun.example") && stun("stun:192.0.2.1:3478") && stun("stun:[2001:db8::1]:3478"));
        assert!(!stun("turn:x") && !stun("stun:") && !stun("stun://x") && !stun("stun:x?transport=tcp"));
        assert!(turn("turn:x:3478?transport=tcp") && turn("turns:x"));
        assert!(
            !turn("turn:me:pw@x")
                && !turn("turn:x?transport=sctp")
                && !turn("turn:x:99999")
                && !turn("x:3478")
        );
    }
}
