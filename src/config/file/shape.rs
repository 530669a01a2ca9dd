//! What a setting takes: told by its kind when it is asked with no value at all. Editors are told it ([`crate::config::schema`]),
//! and it says which values are hidden from those who look at a configuration.

/// The form of a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Shape {
    /// Any text.
    Text,
    /// A text of this form, a regular expression.
    Pattern(&'static str),
    /// A URL, in which a password may stand.
    Url,
    /// `true` or `false`.
    Flag,
    /// A whole number within these limits.
    Whole(u64, u64),
    /// A number within these limits.
    Number(f64, f64),
    /// `"5m30s"`
    Duration,
    /// `"64KiB"`
    Size,
    /// A file's or directory's path.
    Path,
    /// A list of texts, or one text.
    Texts,
    /// A list of whole numbers up to this one, or one number.
    Numbers(u32),
    /// One of these words.
    Words(Vec<&'static str>),
    /// `{ file = "…" }`
    File,
    /// A secret, or where it is.
    Secret,
    /// The same, or a list of at most so many.
    Secrets(usize),
    /// A list of hashes of API keys, or one; what is none may be a key.
    KeyHashes,
    /// A table whose values are secrets.
    SecretTable,
    /// One of two.
    Either(Box<Shape>, Box<Shape>),
}

impl Shape {
    /// One of a few words.
    pub fn words(words: impl IntoIterator<Item = &'static str>) -> Shape {
        Shape::Words(words.into_iter().collect())
    }

    /// This, or another one.
    pub fn or(self, other: Shape) -> Shape {
        Shape::Either(Box::new(self), Box::new(other))
    }

    /// Whether a value of this shape may be a secret.
    pub fn hides(&self) -> bool {
        match self {
            Shape::Secret | Shape::Secrets(_) | Shape::SecretTable => true,
            Shape::Either(one, other) => one.hides() || other.hides(),
            _ => false,
        }
    }
}
