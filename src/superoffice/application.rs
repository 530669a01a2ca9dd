//! An application's credentials: its private keys and client secrets, several of each while one replaces another, and which
//! of them the login service accepted last.
//!
//! SuperOffice has one certificate and one client secret per application and environment, and the old one goes before the
//! new one comes (protocol §2.4). So both stand in the configuration for a while, and which of them holds is found out by
//! trying: a refused exchange writes nothing in the customer's database.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::signing::SigningKey;

/// One application, shared by the tenants that use it.
pub struct Application {
    keys: Arc<[Arc<SigningKey>]>,
    secrets: Vec<ClientSecret>,
    /// The pair that was accepted last: the key's place times the number of secrets, and the secret's place.
    good: AtomicUsize,
}

/// A client secret, as text and ready for `SO-AppToken`.
pub struct ClientSecret {
    text: SecretString,
    header: HeaderValue,
}

/// A key and a secret to try together.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    /// The private key.
    pub key: &'a Arc<SigningKey>,
    /// The client secret.
    pub secret: &'a ClientSecret,
    /// The key's place in its list.
    pub key_at: usize,
    at: usize,
}

/// The client secret holds characters that no header can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("client_secret holds characters that no header can carry")]
pub struct Unsendable;

impl Application {
    /// The keys and secrets in the order in which they are tried; neither list is empty.
    pub fn new(keys: Arc<[Arc<SigningKey>]>, secrets: &[SecretString]) -> Result<Application, Unsendable> {
        let secrets = secrets.iter().map(ClientSecret::new).collect::<Result<_, _>>()?;
        Ok(Application { keys, secrets, good: AtomicUsize::new(0) })
    }

    /// Whether it is made of the same.
    pub fn is_of(&self, keys: &[Arc<SigningKey>], secrets: &[SecretString]) -> bool {
        let texts = self.secrets.iter().map(|secret| secret.text.expose_secret());
        *self.keys == *keys && texts.eq(secrets.iter().map(ExposeSecret::expose_secret))
    }

    /// Every pair: the one that was accepted last, then the others in order; but those with secrets that are `doubted`, by their
    /// places, come after all others.
    pub fn pairs(&self, doubted: &[usize]) -> impl Iterator<Item = Pair<'_>> {
        let good = self.good.load(Ordering::Relaxed);
        let others = (0..self.keys.len() * self.secrets.len()).filter(|&at| at != good);
        let mut order: Vec<usize> = std::iter::once(good).chain(others).collect();
        // Stable: within each half the order stays.
        order.sort_by_key(|at| doubted.contains(&(at % self.secrets.len())));
        order.into_iter().filter_map(|at| self.pair(at))
    }

    /// The login service accepted this pair, after it had refused others. `false`: that was known.
    pub fn accepted(&self, pair: Pair<'_>) -> bool {
        self.good.swap(pair.at, Ordering::Relaxed) != pair.at
    }

    /// The private key that was accepted last.
    pub fn key(&self) -> &Arc<SigningKey> {
        &self.keys[self.good.load(Ordering::Relaxed) / self.secrets.len()]
    }

    /// Where the pair that was accepted last stands in the two lists: the private key's place, and the client secret's.
    pub fn accepted_pair(&self) -> (usize, usize) {
        let good = self.good.load(Ordering::Relaxed);
        (good / self.secrets.len(), good % self.secrets.len())
    }

    /// All private keys.
    pub fn keys(&self) -> &[Arc<SigningKey>] {
        &self.keys
    }

    /// All client secrets.
    pub fn secrets(&self) -> &[ClientSecret] {
        &self.secrets
    }

    /// How many there are of both, for people; `None` when there is nothing to choose from.
    pub fn choice(&self) -> Option<String> {
        let of = |count: usize, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        let (keys, secrets) = (self.keys.len(), self.secrets.len());
        (keys * secrets > 1).then(|| format!("{} and {}", of(keys, "private key"), of(secrets, "client secret")))
    }

    fn pair(&self, at: usize) -> Option<Pair<'_>> {
        let (key, secret) = (at / self.secrets.len(), at % self.secrets.len());
        Some(Pair { key: self.keys.get(key)?, secret: self.secrets.get(secret)?, key_at: key, at })
    }
}

impl Pair<'_> {
    /// Where they stand in their lists, for people: "private key 2, client secret 1".
    pub fn place(&self, of: &Application) -> String {
        format!("private key {}, client secret {}", self.key_at + 1, self.at % of.secrets.len() + 1)
    }
}

impl ClientSecret {
    fn new(text: &SecretString) -> Result<ClientSecret, Unsendable> {
        let header = secret_value(Zeroizing::new(text.expose_secret().as_bytes().to_vec())).ok_or(Unsendable)?;
        Ok(ClientSecret { text: text.clone(), header })
    }

    /// The text.
    pub fn expose(&self) -> &str {
        self.text.expose_secret()
    }

    /// The value of `SO-AppToken`, sensitive.
    pub fn header(&self) -> &HeaderValue {
        &self.header
    }

    /// Tells it from others without giving it away to whoever cannot guess it.
    pub fn identity(&self) -> [u8; 32] {
        Sha256::digest(self.text.expose_secret()).into()
    }
}

/// A header's value that shows itself to nobody, and is wiped when the last of its copies is dropped.
pub fn secret_value(text: Zeroizing<Vec<u8>>) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl fmt::Debug for Application {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Application").field("keys", &self.keys).field("secrets", &self.secrets.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::demo;

    fn application(keys: usize, secrets: &[&str]) -> Application {
        let key = Arc::new(SigningKey::parse(demo::SECOND_PRIVATE_KEY_XML.as_bytes(), None).unwrap());
        let secrets: Vec<SecretString> = secrets.iter().map(|secret| (*secret).into()).collect();
        Application::new(vec![key; keys].into(), &secrets).unwrap()
    }

    fn order(application: &Application, doubted: &[usize]) -> Vec<usize> {
        application.pairs(doubted).map(|pair| pair.at).collect()
    }

    #[test]
    fn what_was_accepted_last_is_tried_first_and_the_others_in_order() {
        let application = application(2, &["a", "b"]);
        assert_eq!(order(&application, &[]), [0, 1, 2, 3]);
        let pair = application.pairs(&[]).nth(3).unwrap();
        assert!(application.accepted(pair) && !application.accepted(pair));
        assert_eq!(order(&application, &[]), [3, 0, 1, 2]);
        assert_eq!(order(&application, &[1]), [0, 2, 3, 1], "other secrets come first");
        assert_eq!(order(&application, &[0, 1]), [3, 0, 1, 2]);
        assert_eq!(pair.place(&application), "private key 2, client secret 2");
        assert_eq!(application.accepted_pair(), (1, 1));
        assert_eq!(application.choice().unwrap(), "2 private keys and 2 client secrets");
    }

    #[test]
    fn a_secret_is_shown_by_nothing() {
        let application = application(1, &["hush-hush"]);
        assert_eq!(application.choice(), None);
        assert!(!format!("{application:?}").contains("hush"));
        let header = application.secrets()[0].header();
        assert_eq!(header.as_bytes(), b"hush-hush");
        assert!(!format!("{header:?}").contains("hush"));
        assert!(Application::new(vec![application.key().clone()].into(), &["a\nb".into()]).is_err());
    }
}
