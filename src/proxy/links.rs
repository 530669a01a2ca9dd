//! Links in answers come home to the proxy, and in `all` mode those in request bodies go back out as SuperOffice wrote them.

/// `rewrite_links`: which links in bodies are rewritten.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// None; headers neither.
    Off,
    /// In JSON and XML: values of `odata.*` members, `_Links`, and the API listing.
    #[default]
    Known,
    /// Every occurrence of the tenant's own base URLs in JSON and XML, and the reverse in request bodies.
    All,
}
