//! What of a request's query is told: it holds personal data more often than not.

/// `log.query`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Query {
    /// Nothing: the path alone.
    #[default]
    Off,
    /// The names of parameters: `?$filter&$top`.
    Names,
    /// All of it, as the caller wrote it.
    Values,
}

impl Query {
    /// What is told, with its `?`; empty for nothing.
    pub fn shown(self, query: Option<&str>) -> String {
        match (self, query) {
            (Query::Off, _) | (_, None) => String::new(),
            (Query::Values, Some(query)) => format!("?{query}"),
            (Query::Names, Some(query)) => {
                let names: Vec<&str> = query.split('&').map(|parameter| name(parameter).unwrap_or("…")).collect();
                format!("?{}", names.join("&"))
            }
        }
    }
}

/// A parameter's name, if it looks like one. What has no `=` may be a value that somebody forgot to name.
fn name(parameter: &str) -> Option<&str> {
    let name = parameter.split('=').next().unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
    let bare = name.strip_prefix("%24").unwrap_or(name);
    // Without a digit it is hardly a token.
    let named = parameter.contains('=') || bare.len() <= 20 && !bare.contains(|c: char| c.is_ascii_digit());
    (named && name.len() <= 40 && !bare.is_empty() && bare.chars().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_much_is_told_as_was_asked_for() {
        let written = "$filter=name%20eq%20'Ola'&%24top=3&wsdl&ola@example.com&=x&a=b=c";
        let query = Some(written);
        assert_eq!(Query::Off.shown(query), "");
        assert_eq!(Query::Names.shown(query), "?$filter&%24top&wsdl&…&…&a");
        assert_eq!(Query::Values.shown(query), format!("?{written}"));
        for policy in [Query::Off, Query::Names, Query::Values] {
            assert_eq!(policy.shown(None), "");
        }
        assert_eq!(Query::Names.shown(Some("3f9c2b&soproxyabcdefghijklmnop")), "?…&…", "values without a name");
        assert_eq!((Query::Names.shown(Some("")), Query::Values.shown(Some(""))), ("?…".into(), "?".into()));
    }

    proptest::proptest! {
        #[test]
        fn no_value_stands_among_names(value in "[ -%'-~]{1,60}") {
            let shown = Query::Names.shown(Some(&format!("a={value}&b={value}")));
            proptest::prop_assert_eq!(shown, "?a&b");
        }
    }
}
