//! The broker: `[mqtt]`.

use std::collections::BTreeSet;

use super::{Context, belongs_elsewhere, place};
use crate::command::NAMES;
use crate::config::raw_mqtt;
use crate::config::reader::{Found, Section};
use crate::config::resolved::{MqttConfig, MqttTls};
use crate::config::secret;
use crate::config::source::scheme;

const EXAMPLE: &str = "write mqtt://host:1883, or mqtts://host:8883 for TLS";
/// Registered ports (IANA service names: mqtt, secure-mqtt).
const PORT: u16 = 1883;
const PORT_TLS: u16 = 8883;

struct Broker {
    host: String,
    port: u16,
    tls: bool,
}

/// `Some(None)`: no broker is wanted. `None`: the table is wrong.
pub(super) fn mqtt(root: &Section<'_, '_>, context: &Context<'_>) -> Option<Option<MqttConfig>> {
    let Some(section) = root.section("mqtt") else {
        return Some(None);
    };
    let url = section.text("url");
    let url = section.need("url", url, "\"mqtt://host:1883\"");
    let broker = url.as_ref().and_then(|url| broker(&section, url));
    let root_level = level(&section, "root", raw_mqtt::MQTT_ROOT, false);
    let tenant = level(&section, "tenant", raw_mqtt::MQTT_TENANT, false);
    let user = section.filled("user");
    let password = secret::read(&section, "password", context.folder, context.machine);
    let ca = section.filled("ca");
    let client = place::pair(&section, "client_cert", "client_key", context);
    let home_assistant = section
        .has("home_assistant")
        .then(|| level(&section, "home_assistant", "", true));
    if home_assistant.is_none() {
        section.find("home_assistant");
    }
    let commands = commands(&section);
    section.finish(belongs_elsewhere);

    if section.has("password") && !section.has("user") {
        section.missing("user", "a password needs a user: add user = \"…\"");
    }
    let tls = broker.as_ref().is_none_or(|b| b.tls);
    for key in ["ca", "client_cert", "client_key"] {
        if !tls {
            section.out_of_place(key, "is for TLS: write mqtts:// in `url`");
        }
    }
    if let (Some(broker), Some(url), true) = (&broker, &url, section.has("password"))
        && !broker.tls
        && !is_loopback(&broker.host)
    {
        let message = "the password travels in clear to another machine";
        section
            .reader
            .warn_at(url, message, "use mqtts:// if the broker can do TLS");
    }
    let broker = broker?;
    Some(Some(MqttConfig {
        host: broker.host,
        port: broker.port,
        root: root_level?,
        tenant: tenant?,
        user: user.map(|u| u.value.to_owned()),
        password,
        tls: broker.tls.then(|| MqttTls {
            ca: ca.map(|ca| context.folder.join(ca.value)),
            client,
        }),
        home_assistant: home_assistant.flatten(),
        commands: commands?,
    }))
}

/// `Some(None)`: no commands are taken. `None`: the table is wrong.
fn commands(root: &Section<'_, '_>) -> Option<Option<BTreeSet<String>>> {
    let Some(section) = root.section("commands") else {
        return (!root.has("commands")).then_some(None);
    };
    let enabled = section.flag("enabled");
    let allow = section.texts("allow");
    section.finish(belongs_elsewhere);
    let wrong = section.has("enabled") && enabled.is_none() || section.has("allow") && allow.is_none();
    let mut names = BTreeSet::new();
    for name in allow.iter().flatten() {
        if NAMES.contains(&name.value) {
            names.insert(name.value.to_owned());
        } else {
            let hint = format!("there are {}", NAMES.join(", "));
            section
                .reader
                .error_at(name, format!("there is no command `{}`", name.value), hint);
        }
    }
    if enabled == Some(true) && allow.is_none() && !wrong {
        section.missing("allow", "say which commands are taken: allow = [\"run-probe\"]");
    }
    (!wrong).then(|| (enabled == Some(true)).then_some(names))
}

fn broker(section: &Section<'_, '_>, url: &Found<&str>) -> Option<Broker> {
    let reader = section.reader;
    let tls = match scheme(url.value).as_deref() {
        Some("mqtt") => false,
        Some("mqtts") => true,
        Some(other) => {
            let message = format!("`{other}:` is not supported for a broker");
            reader.error_at(url, message, EXAMPLE);
            return None;
        }
        None => {
            reader.error_at(url, "is no address", EXAMPLE);
            return None;
        }
    };
    let parsed = match url::Url::parse(url.value) {
        Ok(parsed) => parsed,
        Err(error) => {
            reader.error_at(url, format!("is no address: {error}"), EXAMPLE);
            return None;
        }
    };
    if !parsed.username().is_empty() || parsed.password().is_some() {
        let message = "user and password do not belong into the address, where everyone sees them";
        let hint = "write user = \"…\" and password = { file = \"…\" } on lines of their own";
        reader.error_at(url, message, hint);
        return None;
    }
    let Some(host) = parsed.host_str().filter(|h| !h.is_empty()) else {
        reader.error_at(url, "is no address: the host is missing", EXAMPLE);
        return None;
    };
    if !matches!(parsed.path(), "" | "/") || parsed.query().is_some() || parsed.fragment().is_some() {
        reader.error_at(url, "there is more than host and port", EXAMPLE);
        return None;
    }
    Some(Broker {
        // An IPv6 address is bracketed in a URL only.
        host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
        port: parsed.port().unwrap_or(if tls { PORT_TLS } else { PORT }),
        tls,
    })
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// One level of a topic (or several, for a prefix): MQTT 5 section 4.7 reserves `+`, `#` and a leading `$`.
fn level(section: &Section<'_, '_>, key: &'static str, default: &str, prefix: bool) -> Option<String> {
    let Some(found) = section.text(key) else {
        return (!section.has(key)).then(|| default.to_owned());
    };
    let text = found.value;
    let empty = text.is_empty() || prefix && text.split('/').any(str::is_empty);
    let slash = !prefix && text.contains('/');
    if empty
        || slash
        || text.starts_with('$')
        || text.contains(['+', '#'])
        || text.chars().any(char::is_control)
    {
        let message = format!("`{}` cannot be part of a topic", text.escape_debug());
        let hint = "no +, # or empty level, no $ at the beginning, and no / in a single level";
        section.reader.error_at(&found, message, hint);
        return None;
    }
    Some(text.to_owned())
}
