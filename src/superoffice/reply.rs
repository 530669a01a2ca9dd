//! What the two twins of the exchange share in reading a reply: limits, redirects, HTML pages, words, and the verdict.

use secrecy::SecretString;
use zeroize::Zeroizing;

use super::text::{self, NotText};
use super::{ExchangeReply, ReplyError};

/// More than any genuine reply, bytes. A reader of replies may stop after one byte more.
pub const MAX_REPLY: usize = 1024 * 1024;

/// The longest text of the service's own that is repeated, characters.
pub(super) const MAX_WORDS: usize = 300;

/// One HTTP answer, as far as it matters here.
pub(super) struct Answer<'a> {
    pub(super) status: u16,
    pub(super) content_type: Option<&'a str>,
    pub(super) location: Option<&'a str>,
    pub(super) body: &'a [u8],
}

impl Answer<'_> {
    /// The body's text, once it may be a reply: no redirect, not empty, not too large, no HTML page.
    pub(super) fn text(&self) -> Result<Zeroizing<String>, ReplyError> {
        if (300..400).contains(&self.status) {
            return Err(ReplyError::Redirect { status: self.status, location: location(self.location) });
        }
        if self.body.len() > MAX_REPLY {
            return Err(ReplyError::TooLarge { status: self.status, what: "more than 1 MiB".to_owned() });
        }
        let text = text::decode(self.body).or_else(|why| self.lossy(why))?;
        if text.is_empty() {
            return Err(ReplyError::Empty { status: self.status });
        }
        if self.is_html(&text) {
            return Err(ReplyError::Html { status: self.status, title: title(&text) });
        }
        Ok(text)
    }

    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    pub(super) fn truncated(&self) -> ReplyError {
        ReplyError::Truncated { status: self.status, length: self.body.len() }
    }

    pub(super) fn malformed(&self, what: impl Into<String>) -> ReplyError {
        ReplyError::Malformed { status: self.status, what: what.into() }
    }

    /// For a text that is no document at all, such as a gateway's `Bad Gateway`.
    pub(super) fn no_document(&self, text: &str, expected: &str) -> ReplyError {
        if self.is_success() {
            return self.malformed(format!("{expected} expected"));
        }
        ReplyError::Status { status: self.status, words: text::shorten(text, MAX_WORDS) }
    }

    /// An old error page may be in an encoding of its own; only then are its odd characters unimportant.
    fn lossy(&self, why: NotText) -> Result<Zeroizing<String>, ReplyError> {
        let text = Zeroizing::new(String::from_utf8_lossy(self.body).into_owned());
        if self.is_html(text::trim(&text)) {
            return Ok(text);
        }
        Err(match why {
            NotText::CutOff => self.truncated(),
            NotText::Binary => self.malformed("the body is not text"),
        })
    }

    fn is_html(&self, text: &str) -> bool {
        let mut rest = text.trim_start();
        // XHTML error pages begin with an XML declaration, others with a comment.
        while rest.starts_with("<?xml") || rest.starts_with("<!--") {
            let end = if rest.starts_with("<?") { "?>" } else { "-->" };
            let Some((_, after)) = rest.split_once(end) else { break };
            rest = after.trim_start();
        }
        let begins = |with: &str| rest.get(..with.len()).is_some_and(|head| head.eq_ignore_ascii_case(with));
        if ["<!doctype html", "<html", "<head", "<body", "<title", "<h1"].iter().any(|with| begins(with)) {
            return true;
        }
        let said = self.content_type.is_some_and(|kind| {
            let kind = kind.trim().to_ascii_lowercase();
            kind.starts_with("text/html") || kind.starts_with("application/xhtml")
        });
        said && !rest.starts_with('{') && !rest.contains("Envelope")
    }
}

/// What either twin's reply says.
pub(super) struct Fields {
    pub(super) successful: Option<bool>,
    pub(super) token: Option<Zeroizing<String>>,
    pub(super) message: Option<Zeroizing<String>>,
}

impl Fields {
    /// The verdict. Assumption: a reply that does not say `IsSuccessful` means false, as .NET's default is.
    pub(super) fn judge(self, answer: &Answer<'_>) -> Result<ExchangeReply, ReplyError> {
        let words = self.message.map(|message| text::shorten(&message, MAX_WORDS)).unwrap_or_default();
        if self.successful != Some(true) {
            return Ok(ExchangeReply::Refused(words));
        }
        if !answer.is_success() {
            return Err(ReplyError::Status { status: answer.status, words: "yet the body says IsSuccessful=true".to_owned() });
        }
        let token = self.token.as_deref().map(|token| text::trim(token)).unwrap_or_default();
        if token.is_empty() {
            let also = if words.is_empty() { String::new() } else { format!(": {words}") };
            return Ok(ExchangeReply::Refused(format!("the reply says IsSuccessful=true but brings no token{also}")));
        }
        Ok(ExchangeReply::Token(SecretString::from(token)))
    }
}

/// `xs:boolean`, and what .NET writes.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text::trim(text).to_ascii_lowercase().as_str() {
        "true" | "1" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// A redirect's target without user, query and fragment, which may hold what was sent.
fn location(location: Option<&str>) -> String {
    let Some(location) = location.map(str::trim).filter(|location| !location.is_empty()) else {
        return "nowhere (no Location)".to_owned();
    };
    let path = location.split(['?', '#']).next().unwrap_or_default();
    let bare = match path.split_once("//") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let host = authority.rsplit('@').next().unwrap_or_default();
            format!("{scheme}//{host}{path}")
        }
        None => path.to_owned(),
    };
    text::shorten(&bare, MAX_WORDS)
}

/// A page's title, else its first words.
fn title(html: &str) -> String {
    // Only ASCII changes its case here, so positions stay those of the page.
    let lower = html.to_ascii_lowercase();
    for tag in ["title", "h1", "h2", "body"] {
        let Some(start) = lower.find(&format!("<{tag}")) else { continue };
        let Some(open) = lower[start..].find('>').map(|at| start + at + 1) else { continue };
        let end = lower[open..].find(&format!("</{tag}")).map_or(html.len(), |at| open + at);
        let words = text::shorten(&without_tags(&html[open..end]), MAX_WORDS);
        if !words.is_empty() {
            return words;
        }
    }
    let words = text::shorten(&without_tags(html), MAX_WORDS);
    if words.is_empty() { "(no text)".to_owned() } else { words }
}

fn without_tags(html: &str) -> String {
    let mut text = String::new();
    let mut inside = false;
    for c in html.chars() {
        match c {
            '<' => inside = true,
            '>' if inside => {
                inside = false;
                text.push(' ');
            }
            c if !inside => text.push(c),
            _ => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<String, ReplyError> {
        Answer { status, content_type, location: None, body }.text().map(|text| text.to_string())
    }

    #[test]
    fn a_location_shows_neither_user_nor_query() {
        for (given, shown) in [
            (Some("https://u:p@a.example/login?token=secret#x"), "https://a.example/login"),
            (Some("/relative/path?x"), "/relative/path"),
            (Some("//a.example@b.example"), "//b.example"),
            (Some("https://a.example/\u{7}\u{1b}x"), "https://a.example/ x"),
            (Some("?secret"), ""),
            (Some(" "), "nowhere (no Location)"),
            (None, "nowhere (no Location)"),
        ] {
            assert_eq!(location(given), shown);
        }
        let answer = Answer { status: 302, content_type: None, location: Some("/x?y"), body: b"<html>" };
        assert_eq!(answer.text().err(), Some(ReplyError::Redirect { status: 302, location: "/x".to_owned() }));
    }

    #[test]
    fn html_pages() {
        let html = |title: &str| Err(ReplyError::Html { status: 503, title: title.to_owned() });
        for (kind, body, title) in [
            (None, "<!DOCTYPE html PUBLIC \"x\"><HTML><Head><TITLE>Service\n Unavailable</TITLE></head>", "Service Unavailable"),
            (None, "<?xml version='1.0'?>\n<!-- x --><html><body><p>Down &amp; out</p><b>!</b>", "Down &amp; out !"),
            (None, "<html><title></title><h1>Oops</h1>", "Oops"),
            (Some("text/html; charset=utf-8"), "just words", "just words"),
            (Some("Text/HTML"), "<div><!-- --></div>", "(no text)"),
        ] {
            assert_eq!(read(503, kind, body.as_bytes()), html(title), "{body}");
        }
        assert_eq!(read(503, None, b"<html><title>Feil p\xe5 serveren</title>"), html("Feil p\u{fffd} serveren"));
        assert_eq!(read(200, Some("text/html"), b"{}"), Ok("{}".to_owned()));
        assert_eq!(read(200, Some("text/html"), b"<s:Envelope/>"), Ok("<s:Envelope/>".to_owned()));
    }

    #[test]
    fn empty_and_large() {
        for blank in [&b""[..], b" \r\n", b"\xef\xbb\xbf", b"\xff\xfe"] {
            assert_eq!(read(200, None, blank), Err(ReplyError::Empty { status: 200 }), "{blank:?}");
        }
        assert!(matches!(read(200, None, &vec![b'x'; MAX_REPLY + 1]), Err(ReplyError::TooLarge { .. })));
        assert!(read(200, None, &vec![b'x'; MAX_REPLY]).is_ok());
        assert!(matches!(read(200, None, b"\x80\x81"), Err(ReplyError::Malformed { .. })));
    }
}
