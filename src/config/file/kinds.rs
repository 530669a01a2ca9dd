//! The kinds of values: each function takes one value of the file or one string of the environment, and gives what it
//! means or what is wrong with it. A string is taken for every kind, because the environment knows nothing else.

mod access;
mod secrets;

use std::net::{Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use figment::value::Value;
use tracing_subscriber::EnvFilter;

pub use self::access::{certificate_names, ids, key_hashes, origins, rules};
pub use self::secrets::{secret, secrets};
use super::shape::Shape;
use super::units;
use crate::config::ReadyWhen;
use crate::proxy::address::Network;
use crate::proxy::cache::Rule;
use crate::proxy::soap::TicketFaults;
use crate::superoffice::origin::{BaseUrl, UpstreamHosts};

/// What is wrong with a value, and what to write instead.
#[derive(Debug)]
pub struct Wrong {
    /// Never holds a secret's value.
    pub what: String,
    /// The accepted form.
    pub hint: String,
    /// What would be taken: each kind tells it when it is asked with no value at all.
    pub shape: Option<Shape>,
}

impl Wrong {
    /// Both as sentences.
    pub fn new(what: impl Into<String>, hint: impl Into<String>) -> Wrong {
        Wrong { what: what.into(), hint: hint.into(), shape: None }
    }

    /// The value has another type.
    fn kind(value: &Value, expected: &str, hint: impl Into<String>) -> Wrong {
        Wrong::new(format!("must be {expected}, not {}", describe(value)), hint)
    }

    /// Says what would be taken instead.
    pub fn taking(self, shape: Shape) -> Wrong {
        Wrong { shape: Some(shape), ..self }
    }

    /// The same with another hint.
    pub fn hinting(self, hint: impl Into<String>) -> Wrong {
        Wrong { hint: hint.into(), ..self }
    }
}

type Read<T> = Result<T, Wrong>;

/// Longer than anybody means, and short enough to be added to any point in time.
const TEN_YEARS: Duration = Duration::from_secs(10 * 365 * 86_400);

/// Any text.
pub fn text(value: &Value) -> Read<String> {
    value.as_str().map(|text| text.trim().to_owned()).ok_or_else(|| Wrong::kind(value, "a string", "put it in quotes").taking(Shape::Text))
}

/// `true` or `false`.
pub fn flag(value: &Value) -> Read<bool> {
    const HINT: &str = "write true or false, without quotes";
    match value {
        Value::Bool(_, flag) => Ok(*flag),
        Value::String(_, text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(Wrong::new(format!("{} is neither true nor false", quoted(text)), HINT)),
        },
        _ => Err(Wrong::kind(value, "true or false", HINT).taking(Shape::Flag)),
    }
}

/// A number, from 1 to a million: more of anything at once is a mistake.
pub fn count(value: &Value) -> Read<usize> {
    const HINT: &str = "write a whole number from 1 to 1000000, without quotes";
    let number = match value {
        Value::String(_, text) => text.trim().parse().ok(),
        Value::Num(_, number) => number.to_i128().or_else(|| number.to_u128()?.try_into().ok()),
        _ => return Err(Wrong::kind(value, "a number", HINT).taking(Shape::Whole(1, 1_000_000))),
    };
    let number = number.and_then(|number: i128| usize::try_from(number).ok()).filter(|number| (1..=1_000_000).contains(number));
    number.ok_or_else(|| Wrong::new("must be a whole number from 1 to 1000000", HINT))
}

/// Calls per second. Less than one in a quarter of an hour, or more than a million, is a mistake.
pub fn rate(value: &Value) -> Read<f64> {
    const HINT: &str = "write calls per second, from 0.001 to 1000000, such as 10 or 0.5, without quotes";
    let number = match value {
        Value::String(_, text) => text.trim().parse().ok(),
        Value::Num(_, number) => number.to_f64().or_else(|| number.to_i128().map(|number| number as f64)),
        _ => return Err(Wrong::kind(value, "a number", HINT).taking(Shape::Number(0.001, 1e6))),
    };
    let number = number.filter(|number| (0.001..=1e6).contains(number));
    number.ok_or_else(|| Wrong::new("must be a number from 0.001 to 1000000", HINT))
}

/// A duration of at least `least` and at most `most`.
pub fn duration(least: Duration, most: Option<Duration>) -> impl Fn(&Value) -> Read<Duration> {
    move |value| {
        let read = match value {
            Value::String(_, text) => units::duration(text).ok_or_else(|| match text.trim().parse::<u64>() {
                Ok(number) => without_unit(number),
                Err(_) => Wrong::new(format!("{} is no duration", quoted(text)), units::DURATION_FORM),
            })?,
            Value::Num(_, number) => match number.to_i128().or_else(|| number.to_u128()?.try_into().ok()) {
                Some(0) => Duration::ZERO,
                Some(number) => return Err(without_unit(number)),
                None => return Err(Wrong::kind(value, "a duration", units::DURATION_FORM)),
            },
            _ => return Err(Wrong::kind(value, "a duration", units::DURATION_FORM).taking(Shape::Duration)),
        };
        if read < least {
            return Err(Wrong::new(format!("must be at least {least:?}"), units::DURATION_FORM));
        }
        match most.unwrap_or(TEN_YEARS) {
            most if read <= most => Ok(read),
            TEN_YEARS => Err(Wrong::new("is longer than ten years", units::DURATION_FORM)),
            most => Err(Wrong::new(format!("must be at most {}", minutes(most)), units::DURATION_FORM)),
        }
    }
}

fn minutes(duration: Duration) -> String {
    match duration.as_secs() {
        secs if secs % 3600 == 0 => format!("{}h", secs / 3600),
        secs if secs % 60 == 0 => format!("{}m", secs / 60),
        secs => format!("{secs}s"),
    }
}

fn without_unit(number: impl std::fmt::Display) -> Wrong {
    Wrong::new(format!("{number} has no unit"), format!("did you mean \"{number}s\"? {}", units::DURATION_FORM))
}

/// `word` for nothing, else what `kind` reads.
pub fn unless<T>(word: &'static str, kind: impl Fn(&Value) -> Read<T>) -> impl Fn(&Value) -> Read<Option<T>> {
    move |value| match value.as_str() {
        Some(text) if text.trim().eq_ignore_ascii_case(word) => Ok(None),
        _ => kind(value).map(Some).map_err(|wrong| Wrong {
            hint: format!("{}; or \"{word}\"", wrong.hint),
            shape: wrong.shape.map(|shape| Shape::words([word]).or(shape)),
            ..wrong
        }),
    }
}

/// Bytes.
pub fn size(value: &Value) -> Read<u64> {
    let bytes = match value {
        Value::String(_, text) => units::size(text).ok_or_else(|| format!("{} is no size", quoted(text))),
        Value::Num(_, number) => {
            let whole = number.to_u128().or_else(|| number.to_i128()?.try_into().ok());
            whole.and_then(|bytes| u64::try_from(bytes).ok()).ok_or_else(|| "is no number of bytes".to_owned())
        }
        _ => return Err(Wrong::kind(value, "a size", units::SIZE_FORM).taking(Shape::Size)),
    };
    bytes.map_err(|what| Wrong::new(what, units::SIZE_FORM))
}

/// A size from 1: nothing at all could pass with 0.
pub fn size_from_1(value: &Value) -> Read<u64> {
    match size(value)? {
        0 => Err(Wrong::new("0 would refuse every body", units::SIZE_FORM)),
        bytes => Ok(bytes),
    }
}

/// What a request's head may take: no less than what the parser reads at once.
pub fn size_of_head(value: &Value) -> Read<usize> {
    let bytes = size_in_memory(value)?;
    if bytes < 8192 { Err(Wrong::new("must be at least 8KiB", units::SIZE_FORM)) } else { Ok(bytes) }
}

/// Room for a cache: with less, hardly a list would fit.
pub fn size_of_cache(value: &Value) -> Read<usize> {
    let bytes = size_in_memory(value)?;
    if bytes < 1 << 20 { Err(Wrong::new("must be at least 1MiB", units::SIZE_FORM)) } else { Ok(bytes) }
}

/// A size that fits in memory.
pub fn size_in_memory(value: &Value) -> Read<usize> {
    size(value)?.try_into().map_err(|_| Wrong::new("is larger than this machine's memory can be", units::SIZE_FORM))
}

/// One of a few words, without regard to case.
pub fn choice<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&Value) -> Read<T> {
    move |value| {
        let hint = format!("write {}", words.iter().map(|(word, _)| format!("\"{word}\"")).collect::<Vec<_>>().join(" or "));
        let Some(text) = value.as_str() else {
            return Err(Wrong::kind(value, "a string", hint).taking(Shape::words(words.iter().map(|(word, _)| *word))));
        };
        let found = words.iter().find(|(word, _)| word.eq_ignore_ascii_case(text.trim()));
        found.map(|(_, meaning)| *meaning).ok_or_else(|| Wrong::new(format!("{} is not known", quoted(text)), hint))
    }
}

/// A list; or one item, or several with commas between, as one string.
pub fn list<T>(item: impl Fn(&str) -> Read<T>) -> impl Fn(&Value) -> Read<Vec<T>> {
    const HINT: &str = "write [\"one\", \"two\"], or one string with commas between";
    move |value| match value {
        Value::String(_, text) => text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(&item).collect(),
        Value::Array(_, values) => {
            let texts = values.iter().map(|value| value.as_str().ok_or_else(|| Wrong::kind(value, "a list of strings", HINT)));
            texts.map(|text| item(text?.trim())).collect()
        }
        _ => Err(Wrong::kind(value, "a string or a list of strings", HINT).taking(Shape::Texts)),
    }
}

/// Addresses to listen on, at least one.
pub fn addresses(value: &Value) -> Read<Vec<SocketAddr>> {
    const HINT: &str = "write an IP address and a port, such as \"127.0.0.1:8080\" or \"[::1]:8080\", or a list of them";
    let address = |text: &str| text.parse().map_err(|_| Wrong::new(format!("{} is no IP address with a port", quoted(text)), HINT));
    let found = list(address)(value).map_err(|wrong| wrong.hinting(HINT))?;
    if found.is_empty() { Err(Wrong::new("names no address", HINT)) } else { Ok(found) }
}

/// Host names as they stand in `Host`: lower case, without port, IPv6 addresses in brackets.
pub fn hosts(value: &Value) -> Read<Vec<String>> {
    list(|text| {
        if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse::<Ipv6Addr>() {
            return Ok(format!("[{address}]"));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
        if !text.is_empty() && text.chars().all(fits) {
            return Ok(text.to_ascii_lowercase());
        }
        let hint = "write the name alone, without https://, port, path or *, such as \"proxy.example.com\"";
        Err(Wrong::new(format!("{} is no host name", quoted(text)), hint))
    })(value)
}

/// Patterns of hosts a ticket may be sent to.
pub fn upstream_hosts(value: &Value) -> Read<UpstreamHosts> {
    let patterns = list(|text| Ok(text.to_owned()))(value)?;
    UpstreamHosts::parse(patterns.iter().map(String::as_str)).map_err(|pattern| {
        let hint = "write \"host\", \"host:port\" or \"*.domain\", such as \"*.superoffice.com\"";
        Wrong::new(format!("{} is no pattern of hosts", quoted(&pattern)), hint)
    })
}

/// A base URL. Messages do not repeat it: a password may stand in it.
pub fn url(value: &Value) -> Read<BaseUrl> {
    const HINT: &str = "write it whole, such as \"https://sod.superoffice.com/Cust12345/api\"";
    let text = value.as_str().ok_or_else(|| Wrong::kind(value, "a string", HINT).taking(Shape::Url))?;
    text.parse().map_err(|error| Wrong::new(format!("{error}"), HINT))
}

/// The address of our own that others see.
pub fn public_url(value: &Value) -> Read<BaseUrl> {
    const HINT: &str = "write it whole, such as \"https://crm.example.com\" or \"https://example.com/crm\"";
    url(value).map_err(|wrong| wrong.hinting(HINT))
}

/// Networks of proxies before us.
pub fn networks(value: &Value) -> Read<Vec<Network>> {
    const HINT: &str = "write IP addresses or networks, such as [\"127.0.0.1\", \"10.0.0.0/8\"]";
    let network = |text: &str| text.parse().map_err(|_| Wrong::new(format!("{} is no IP address or network", quoted(text)), HINT));
    list(network)(value).map_err(|wrong| wrong.hinting(HINT))
}

/// First segments of paths.
pub fn segments(value: &Value) -> Read<Vec<String>> {
    const HINT: &str = "write what stands between two slashes, letters, digits, '.', '_' and '-', such as [\"CS\"]";
    list(|text| {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if text.eq_ignore_ascii_case("api") {
            return Err(Wrong::new("\"api\" is always carried", "name the others only, such as [\"CS\"]"));
        }
        let fits = !text.is_empty() && !text.starts_with('.') && text.chars().all(plain);
        if fits { Ok(text.to_owned()) } else { Err(Wrong::new(format!("{} is no segment of a path", quoted(text)), HINT)) }
    })(value)
}

/// Patterns of paths that are cached, at least one.
pub fn patterns(value: &Value) -> Read<Vec<String>> {
    const HINT: &str = "write paths behind the tenant, such as [\"/api/v1/List/*\"]";
    let pattern = |text: &str| match Rule::new(text, TEN_YEARS) {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(Wrong::new(format!("{} is no pattern of paths", quoted(text)), error.to_string())),
    };
    let found = list(pattern)(value)?;
    if found.is_empty() { Err(Wrong::new("names no path", HINT)) } else { Ok(found) }
}

/// Types of exceptions, as .NET names them; there may be none.
pub fn faults(value: &Value) -> Read<TicketFaults> {
    const HINT: &str = "write the names of exceptions' types, such as [\"SoSessionException\"], or [] for none";
    let name = |text: &str| {
        let fits = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '+');
        let good = !text.is_empty() && text.chars().all(fits);
        if good { Ok(text.to_owned()) } else { Err(Wrong::new(format!("{} is no type of exception", quoted(text)), HINT)) }
    };
    Ok(TicketFaults::new(&list(name)(value)?))
}

/// The login service's origin: https, or this machine.
pub fn login_url(value: &Value) -> Read<BaseUrl> {
    const HINT: &str = "write the origin alone, such as \"https://sod.superoffice.com\"";
    let url = url(value).map_err(|wrong| wrong.hinting(HINT))?;
    if !url.path().is_empty() {
        return Err(Wrong::new("has a path; the paths below the login service's origin are known", HINT));
    }
    if !url.is_https() && !url.is_loopback() {
        return Err(Wrong::new("is not https, and credentials are never sent in plain text to another machine", HINT));
    }
    Ok(url)
}

/// A path, as it is written.
pub fn path(value: &Value) -> Read<PathBuf> {
    match value.as_str().map(str::trim) {
        Some("") => Err(Wrong::new("names no file", "write the file's path; relative to the configuration file")),
        Some(path) => Ok(path.into()),
        None => Err(Wrong::kind(value, "a path", "write it as a string; relative to the configuration file").taking(Shape::Path)),
    }
}

/// The serial of a tenant's database, as its tokens tell it: a text, or the number that it looks like.
pub fn serial(value: &Value) -> Read<String> {
    const HINT: &str = "write it as the log or `soproxy ticket --json` shows it, such as \"1801550193\"";
    let serial = match value {
        Value::String(_, text) => text.trim().to_owned(),
        Value::Num(_, number) => number.to_i128().filter(|number| *number >= 0).map(|number| number.to_string()).unwrap_or_default(),
        _ => return Err(Wrong::kind(value, "a string", HINT).taking(Shape::Text.or(Shape::Whole(0, u64::MAX)))),
    };
    match serial.is_empty() || serial.chars().any(char::is_control) {
        true => Err(Wrong::new("is no serial", HINT)),
        false => Ok(serial),
    }
}

/// Paths, as they are written; there may be none.
pub fn paths(value: &Value) -> Read<Vec<PathBuf>> {
    list(|text| if text.is_empty() { Err(Wrong::new("names no file", "write a path, or [] for none")) } else { Ok(text.into()) })(value)
}

/// `"jwks"` is `None`, else a file.
pub fn verification_keys(value: &Value) -> Read<Option<PathBuf>> {
    const HINT: &str = "write \"jwks\", or { file = \"SuperOfficeFederatedLogin.crt\" }";
    match value {
        Value::String(_, text) if text.trim().eq_ignore_ascii_case("jwks") => Ok(None),
        Value::String(_, text) => Err(Wrong::new(format!("{} is not known", quoted(text)), HINT)),
        Value::Dict(_, keys) => match keys.get("file") {
            Some(file) if keys.len() == 1 => path(file).map(Some).map_err(|wrong| wrong.hinting(HINT)),
            _ => Err(Wrong::new("must have the key `file` and no other", HINT)),
        },
        _ => Err(Wrong::kind(value, "\"jwks\" or a file", HINT).taking(Shape::words(["jwks"]).or(Shape::File))),
    }
}

/// `any`, `all`, or a list of tenants' names: a tenant may be called `all`.
pub fn ready_when(value: &Value) -> Read<ReadyWhen> {
    const HINT: &str = "write \"any\", \"all\", or a list of tenants, such as [\"Cust12345\"]";
    match value.as_str().map(str::trim) {
        Some(text) if text.eq_ignore_ascii_case("any") => return Ok(ReadyWhen::Any),
        Some(text) if text.eq_ignore_ascii_case("all") => return Ok(ReadyWhen::All),
        _ => {}
    }
    let names = list(|text| Ok(text.to_owned()))(value).map_err(|wrong| wrong.hinting(HINT))?;
    if names.is_empty() { Err(Wrong::new("names no tenant", HINT)) } else { Ok(ReadyWhen::Tenants(names)) }
}

const LEVEL_HINT: &str = "write off, error, warn, info, debug or trace; or directives such as \"info,soproxy=debug\"";

/// A level, or a list of directives as tracing's `EnvFilter` takes them.
pub fn level(value: &Value) -> Read<String> {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let text = value.as_str().map(str::trim).ok_or_else(|| Wrong::kind(value, "a string", LEVEL_HINT).taking(Shape::Text))?;
    // EnvFilter takes any single word for the name of a module.
    let module = !text.contains(['=', ',', '[']) && !LEVELS.iter().any(|level| level.eq_ignore_ascii_case(text));
    if module || EnvFilter::builder().parse(text).is_err() {
        return Err(Wrong::new(format!("{} is no log level", quoted(text)), LEVEL_HINT));
    }
    Ok(text.to_owned())
}

fn describe(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "a string",
        Value::Bool(..) => "true or false",
        Value::Num(_, number) if number.to_f64().is_some() => "a number with a decimal point",
        Value::Num(..) => "a number",
        Value::Empty(..) => "nothing",
        Value::Dict(..) => "a table",
        Value::Array(..) => "a list",
    }
}

/// The value in a message: in quotes, and not more of it than a person needs.
pub fn quoted(text: &str) -> String {
    match text.char_indices().nth(40) {
        Some((end, _)) => format!("{:?}…", &text[..end]),
        None => format!("{text:?}"),
    }
}
