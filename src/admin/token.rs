//! What a caller of the admin listener may do: by the token, or, where there is none, by where it is.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::server::Ends;

/// What a caller may do; each includes those before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Right {
    /// Ask whether the process lives and is ready.
    Ask,
    /// Read whatever is shown.
    Read,
    /// Change something.
    Act,
}

/// `admin.token`, as its SHA-256: equally long whatever is compared with it.
#[derive(Clone)]
pub(super) struct Token([u8; 32]);

/// Credentials that are not ours.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the Authorization header is not Bearer with admin.token")]
pub(super) struct Wrong;

impl Token {
    pub(super) fn new(secret: &SecretString) -> Token {
        Token(Sha256::digest(secret.expose_secret()).into())
    }

    fn is(&self, shown: &[u8]) -> bool {
        let shown: [u8; 32] = Sha256::digest(shown).into();
        shown.ct_eq(&self.0).into()
    }
}

/// What proxies say of those they speak for.
const FORWARDED: [&str; 4] = ["forwarded", "x-forwarded-for", "x-real-ip", "via"];

/// What a caller may do. With a `token` nobody who does not show it may do more than ask. Without one whoever connects over a Unix
/// socket (its mode says who that is) or from this machine to this machine may do all, and everybody else may read: the
/// configuration has said that it means that.
pub(super) fn right(token: Option<&Token>, headers: &HeaderMap, ends: &Ends) -> Result<Right, Wrong> {
    let Some(token) = token else {
        let here = match (ends.peer, ends.local) {
            (None, None) => true,
            (Some(peer), Some(local)) => peer.ip().to_canonical().is_loopback() && local.ip().to_canonical().is_loopback(),
            _ => false,
        };
        // A proxy on this machine speaks for others.
        let here = here && !FORWARDED.iter().any(|name| headers.contains_key(*name));
        return Ok(if here { Right::Act } else { Right::Read });
    };
    let mut lines = headers.get_all(AUTHORIZATION).iter();
    let Some(line) = lines.next() else { return Ok(Right::Ask) };
    let (scheme, shown) = line.as_bytes().split_at_checked(b"Bearer ".len()).ok_or(Wrong)?;
    let good = scheme.eq_ignore_ascii_case(b"Bearer ") && token.is(shown.trim_ascii()) && lines.next().is_none();
    if good { Ok(Right::Act) } else { Err(Wrong) }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use http::{HeaderName, HeaderValue};

    use super::*;
    use crate::peer::Proof;

    fn ends(peer: Option<&str>, local: Option<&str>) -> Ends {
        let address = |text: Option<&str>| text.map(|text| text.parse::<SocketAddr>().unwrap());
        Ends { peer: address(peer), local: address(local), tls: false, proof: Proof::default(), listener: 0, crowded: false }
    }

    #[test]
    fn without_a_token_the_place_decides() {
        let judge = |peer, local| right(None, &HeaderMap::new(), &ends(peer, local)).unwrap();
        assert_eq!(judge(None, None), Right::Act, "a Unix socket");
        assert_eq!(judge(Some("127.0.0.1:1"), Some("127.0.0.1:2")), Right::Act);
        assert_eq!(judge(Some("[::1]:1"), Some("[::1]:2")), Right::Act);
        assert_eq!(judge(Some("[::ffff:127.0.0.1]:1"), Some("[::ffff:127.0.0.1]:2")), Right::Act);
        assert_eq!(judge(Some("10.0.0.7:1"), Some("10.0.0.1:2")), Right::Read);
        assert_eq!(judge(Some("10.0.0.1:1"), Some("10.0.0.1:2")), Right::Read, "this machine, but not by loopback");
        assert_eq!(judge(Some("127.0.0.1:1"), Some("10.0.0.1:2")), Right::Read);
        assert_eq!(judge(Some("127.0.0.1:1"), None), Right::Read);
        for name in FORWARDED {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::from_static("x"))]);
            assert_eq!(right(None, &headers, &ends(None, None)), Ok(Right::Read), "{name}: a proxy on this machine speaks for others");
        }
    }

    #[test]
    fn with_a_token_only_the_token_does() {
        let token = Token::new(&"0123456789abcdef".into());
        let judge = |lines: &[&str], ends: &Ends| {
            let mut headers = HeaderMap::new();
            lines.iter().for_each(|line| _ = headers.append(AUTHORIZATION, HeaderValue::from_str(line).unwrap()));
            right(Some(&token), &headers, ends)
        };
        let (here, far) = (ends(None, None), ends(Some("10.0.0.7:1"), Some("10.0.0.1:2")));
        for ends in [&here, &far] {
            assert_eq!(judge(&[], ends), Ok(Right::Ask));
            assert_eq!(judge(&["Bearer 0123456789abcdef"], ends), Ok(Right::Act));
            assert_eq!(judge(&["bearer  0123456789abcdef"], ends), Ok(Right::Act));
            for wrong in [
                &["Bearer 0123456789abcdeg"][..],
                &["Bearer 0123456789abcde"],
                &["Bearer 0123456789abcdef0"],
                &["Bearer "],
                &["Bearer"],
                &[""],
                &["0123456789abcdef"],
                &["Basic 0123456789abcdef"],
                &["Bearer 0123456789abcdef", "Bearer 0123456789abcdef"],
                &["Bearer 0123456789abcdef", "Basic x"],
            ] {
                assert_eq!(judge(wrong, ends), Err(Wrong), "{wrong:?}");
            }
        }
    }
}
