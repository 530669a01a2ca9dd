//! What an answer must not give away: a header that holds the ticket or the client secret of its own request, as an upstream
//! that mirrors requests, or a redirect to a URL with a session in it, would send them.

use http::header::{HeaderMap, HeaderName, HeaderValue};
use memchr::memmem;
use percent_encoding::percent_decode;

use crate::ticket::Ticket;

/// What is shorter stands in ordinary words, too, and is no secret of SuperOffice's.
const SHORTEST: usize = 8;

/// Takes out every header that holds a secret of the request, as it is or percent-encoded, once or twice: their names, for the log.
pub fn take(headers: &mut HeaderMap, ticket: &Ticket) -> Vec<HeaderName> {
    let secrets = [ticket.value(), ticket.app_token.as_bytes()];
    let Some(shortest) = secrets.iter().map(|secret| secret.len()).filter(|&length| length >= SHORTEST).min() else { return Vec::new() };
    // Most headers are too short to hold either.
    let holds = |line: &HeaderValue| line.len() >= shortest && holds(line.as_bytes(), secrets);
    if !headers.values().any(holds) {
        return Vec::new();
    }
    let found: Vec<HeaderName> = headers.keys().filter(|name| headers.get_all(*name).iter().any(holds)).cloned().collect();
    for name in &found {
        headers.remove(name);
    }
    found
}

fn holds(line: &[u8], secrets: [&[u8]; 2]) -> bool {
    let within = |line: &[u8]| secrets.iter().any(|secret| secret.len() >= SHORTEST && memmem::find(line, secret).is_some());
    let decoded = |line: &[u8]| memchr::memchr(b'%', line).is_some().then(|| percent_decode(line).collect::<Vec<u8>>());
    // A URL may hold another one.
    within(line) || decoded(line).is_some_and(|once| within(&once) || decoded(&once).is_some_and(|twice| within(&twice)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    fn ticket(value: &str, secret: &str) -> Ticket {
        let authorization = HeaderValue::from_str(&format!("SOTicket {value}")).unwrap();
        let (app_token, issued) = (HeaderValue::from_str(secret).unwrap(), Clock::system().now());
        Ticket { authorization, app_token, generation: 1, issued, after_refusal: false }
    }

    fn left(lines: &[(&'static str, &str)], ticket: &Ticket) -> (Vec<String>, Vec<HeaderName>) {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        let taken = take(&mut headers, ticket);
        (headers.keys().map(ToString::to_string).collect(), taken)
    }

    #[test]
    fn a_header_with_the_ticket_or_the_client_secret_goes_and_others_stay() {
        let ticket = ticket("7T:MAA3AGYA+/==", "f2398a3a-client");
        let lines = [
            ("server", "Microsoft-IIS/8.5"),
            ("x-echo", "Authorization: SOTicket 7T:MAA3AGYA+/=="),
            ("location", "https://sod.superoffice.com/login?ctx=7T%3aMAA3AGYA%2B%2F%3D%3D&x=1"),
            ("x-twice", "/login?to=%2Fx%3Ft%3D7T%253AMAA3AGYA%252B%252F%253D%253D"),
            ("x-app", "f2398a3a-client"),
            ("x-partly", "7T:MAA3AGYA, f2398a3a"),
            ("set-cookie", "a=1"),
            ("set-cookie", "t=f2398a3a%2Dclient"),
        ];
        let (kept, taken) = left(&lines, &ticket);
        assert_eq!(kept, ["server", "x-partly"]);
        assert_eq!(taken, ["x-echo", "location", "x-twice", "x-app", "set-cookie"]);
    }

    #[test]
    fn what_is_too_short_to_be_a_secret_is_none() {
        assert_eq!(left(&[("server", "a"), ("x", "abcdefg")], &ticket("a", "abcdefg")).1, [] as [HeaderName; 0]);
        assert_eq!(left(&[("server", "a"), ("x", "abcdefgh")], &ticket("a", "abcdefgh")).1, ["x"]);
    }
}
