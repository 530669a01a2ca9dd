//! `<RSAKeyValue>` XML, .NET's form of an RSA key and the one the Developer Portal hands out. Protocol §2.4.

use base64::Engine;
use rsa::PrivateKey;
use zeroize::Zeroizing;

use super::KeyError;
use super::assemble::{Numbers, assemble};
use crate::superoffice::document::{self, DocumentError, Element};
use crate::superoffice::pem::LENIENT;

type Number = Zeroizing<Vec<u8>>;

/// Reads the XML; members may be in any order, and only Modulus, Exponent and D are needed.
pub(super) fn read(text: &str) -> Result<PrivateKey, KeyError> {
    let root = document::read(text).map_err(|error| match error {
        DocumentError::Truncated => KeyError::Truncated("this is XML".to_owned()),
        DocumentError::Doctype => damaged("it has a DOCTYPE"),
        DocumentError::Limit(what) => damaged(what),
        DocumentError::Syntax { line, column } => damaged(&format!("it is not well formed at line {line}, column {column}")),
    })?;
    let key = find(&root).ok_or(KeyError::OtherXml)?;
    let Some(d) = member(key, "D")? else {
        return Err(if key.named("Modulus").next().is_some() {
            KeyError::PublicKey("<RSAKeyValue> without <D>")
        } else {
            KeyError::OtherXml
        });
    };
    let n = member(key, "Modulus")?.ok_or_else(|| damaged("it has no <Modulus>"))?;
    let e = member(key, "Exponent")?.ok_or_else(|| damaged("it has no <Exponent>"))?;
    let [p, q, dp, dq, q_inverse] = ["P", "Q", "DP", "DQ", "InverseQ"].map(|name| member(key, name));
    let (p, q, dp, dq, q_inverse) = (p?, q?, dp?, dq?, q_inverse?);
    assemble(Numbers {
        n: &n,
        e: &e,
        d: &d,
        p: p.as_deref().map(Vec::as_slice),
        q: q.as_deref().map(Vec::as_slice),
        dp: dp.as_deref().map(Vec::as_slice),
        dq: dq.as_deref().map(Vec::as_slice),
        q_inverse: q_inverse.as_deref().map(Vec::as_slice),
    })
}

fn damaged(why: &str) -> KeyError {
    KeyError::Damaged("this is XML".to_owned(), why.to_owned())
}

/// The key itself may stand inside another element; the document's depth is limited.
fn find(element: &Element) -> Option<&Element> {
    if element.name == "RSAKeyValue" {
        return Some(element);
    }
    element.children.iter().find_map(find)
}

/// A member's number; `None` when it is missing or empty.
fn member(key: &Element, name: &str) -> Result<Option<Number>, KeyError> {
    let mut found = key.named(name);
    let Some(element) = found.next() else { return Ok(None) };
    if found.next().is_some() {
        return Err(damaged(&format!("<{name}> occurs twice")));
    }
    let mut base64 = Zeroizing::new(Vec::with_capacity(element.text.len()));
    base64.extend(element.text.bytes().filter(|byte| !byte.is_ascii_whitespace()));
    if base64.is_empty() {
        return Ok(None);
    }
    let number = LENIENT.decode(&*base64).map_err(|_| damaged(&format!("<{name}> is not base64")))?;
    Ok(Some(Zeroizing::new(number)))
}
