//! A small, hardened reading of XML into a tree: limits on size, depth and number, no DOCTYPE, hence no entities of
//! anybody's own. Used for replies and for key files.

use xml::common::Position;
use xml::reader::{ErrorKind, EventReader, ParserConfig, XmlEvent};
use zeroize::Zeroizing;

const MAX_DEPTH: usize = 32;
const MAX_ELEMENTS: usize = 10_000;
const XSI: &str = "http://www.w3.org/2001/XMLSchema-instance";

/// One element. Its text is wiped when dropped, since it may be a key or a token.
#[derive(Default)]
pub(super) struct Element {
    pub(super) namespace: Option<String>,
    /// The local name, without prefix.
    pub(super) name: String,
    /// `xsi:nil`
    pub(super) nil: bool,
    /// The element's own text, not that of its children.
    pub(super) text: Zeroizing<String>,
    pub(super) children: Vec<Element>,
}

impl Element {
    /// The children of that name, in any namespace.
    pub(super) fn named<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// Whether this is that element of that namespace.
    pub(super) fn is(&self, namespace: &str, name: &str) -> bool {
        self.name == name && self.namespace.as_deref() == Some(namespace)
    }
}

/// Why a text is no document. Nothing of the text is in it, since that may be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DocumentError {
    /// It ends too early.
    Truncated,
    /// It has a DOCTYPE.
    Doctype,
    /// It is larger or deeper than anything genuine.
    Limit(&'static str),
    /// It is not well formed.
    Syntax { line: u64, column: u64 },
}

/// Reads a whole document.
pub(super) fn read(text: &str) -> Result<Element, DocumentError> {
    let body = after_declaration(text)?;
    let mut reader = EventReader::new_with_config(body.as_bytes(), config(body.len()));
    let mut open: Vec<Element> = Vec::new();
    let mut root = None;
    let mut count = 0;
    loop {
        match reader.next().map_err(|error| classify(&error))? {
            XmlEvent::StartElement { name, attributes, .. } => {
                count += 1;
                if count > MAX_ELEMENTS {
                    return Err(DocumentError::Limit("more than 10000 elements"));
                }
                if open.len() == MAX_DEPTH {
                    return Err(DocumentError::Limit("deeper than 32 elements"));
                }
                let nil = attributes.iter().any(|attribute| {
                    attribute.name.local_name == "nil"
                        && attribute.name.namespace.as_deref() == Some(XSI)
                        && matches!(attribute.value.trim(), "true" | "1")
                });
                open.push(Element { namespace: name.namespace, name: name.local_name, nil, ..Element::default() });
            }
            XmlEvent::EndElement { .. } => {
                let Some(done) = open.pop() else { continue };
                match open.last_mut() {
                    Some(parent) => parent.children.push(done),
                    None => root = Some(done),
                }
            }
            XmlEvent::Characters(text) => {
                let text = Zeroizing::new(text);
                if let Some(element) = open.last_mut() {
                    element.text.push_str(&text);
                }
            }
            XmlEvent::Doctype { .. } => return Err(DocumentError::Doctype),
            XmlEvent::EndDocument => return root.ok_or(DocumentError::Truncated),
            _ => {}
        }
    }
}

/// The text is Unicode by now, so the declaration's `encoding` would only contradict it.
fn after_declaration(text: &str) -> Result<&str, DocumentError> {
    if text.starts_with("<?xml ") {
        return text.split_once("?>").map(|(_, body)| body.trim_start()).ok_or(DocumentError::Truncated);
    }
    Ok(text)
}

fn config(length: usize) -> ParserConfig {
    ParserConfig::new()
        .cdata_to_characters(true)
        .whitespace_to_characters(true)
        .allow_multiple_root_elements(false)
        .max_entity_expansion_depth(1)
        .max_entity_expansion_length(1024)
        .max_name_length(1024)
        .max_attributes(64)
        .max_attribute_length(16 * 1024)
        .max_data_length(length.max(1))
}

fn classify(error: &xml::reader::Error) -> DocumentError {
    match error.kind() {
        ErrorKind::UnexpectedEof => DocumentError::Truncated,
        // The parser knows these cases, but its type for them is private.
        ErrorKind::Syntax(message) if message.starts_with("Unexpected end of stream") || message.starts_with("Unclosed") => {
            DocumentError::Truncated
        }
        ErrorKind::Syntax(message) if message.contains("larger/more complex") => DocumentError::Limit("a name or attribute is too long"),
        _ => DocumentError::Syntax { line: error.position().row() + 1, column: error.position().column() + 1 },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_tree_with_names_text_and_nil() {
        let root = read(
            "<?xml version='1.0' encoding='utf-16'?>\n<!-- c --><p:a xmlns:p='urn:x' xmlns:i='http://www.w3.org/2001/XMLSchema-instance'> \
             <b i:nil=' true '/><c>1 &amp; <![CDATA[<2>]]><d/>&#51;</c></p:a>",
        )
        .map_err(|error| format!("{error:?}"))
        .unwrap();
        assert!(root.is("urn:x", "a"));
        assert!(root.children[0].nil && root.children[0].namespace.is_none());
        assert_eq!(root.named("c").next().map(|c| c.text.as_str()), Some("1 & <2>3"));
    }

    #[test]
    fn limits_and_definitions() {
        let deep = |n: usize| format!("{}{}", "<a>".repeat(n), "</a>".repeat(n));
        assert!(read(&deep(32)).is_ok());
        assert_eq!(read(&deep(33)).err(), Some(DocumentError::Limit("deeper than 32 elements")));
        assert_eq!(read(&format!("<a>{}</a>", "<b/>".repeat(10_000))).err(), Some(DocumentError::Limit("more than 10000 elements")));
        let bomb = "<!DOCTYPE a [<!ENTITY x 'xxxxxxxxxx'><!ENTITY y '&x;&x;&x;'>]><a>&y;</a>";
        assert_eq!(read(bomb).err(), Some(DocumentError::Doctype));
        assert_eq!(read("<!DOCTYPE a SYSTEM 'file:///etc/passwd'><a/>").err(), Some(DocumentError::Doctype));
        assert!(matches!(read("<a>\n</b>").err(), Some(DocumentError::Syntax { line: 2, .. })));
        assert!(read("<a/><b/>").is_err());
    }

    #[test]
    fn each_beginning_of_a_document_is_truncated() {
        let whole = "<?xml version=\"1.0\"?><s:a xmlns:s=\"urn:x\"><!-- n --><b>x&amp;<![CDATA[y]]></b></s:a>";
        for (end, _) in whole.char_indices().skip(1) {
            assert_eq!(read(&whole[..end]).err(), Some(DocumentError::Truncated), "{}", &whole[..end]);
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(<|>|/|!|\\[|\\]|a|b|:|=|\"|&|;|#|x|\\?|-|[ -~]|\\PC){0,60}") {
            let _ = read(&text);
        }
    }
}
