//! Path → tenant, and the part of the path that goes upstream as it is.

use std::collections::HashMap;

use super::error::ProxyError;

/// The configured tenants by name, without regard to case, as SuperOffice treats paths.
#[derive(Debug)]
pub struct Routes<T>(HashMap<Box<str>, T>);

/// A path that was matched.
#[derive(Debug, PartialEq, Eq)]
pub struct Matched<'a, T> {
    /// The tenant.
    pub tenant: &'a T,
    /// What follows `/{tenant}/api`, byte for byte: empty, or starting with `/`.
    pub rest: &'a str,
}

impl<T> Routes<T> {
    /// Tenants by the name that their paths start with.
    pub fn new(tenants: impl IntoIterator<Item = (String, T)>) -> Routes<T> {
        Routes(tenants.into_iter().map(|(name, tenant)| (name.to_ascii_lowercase().into(), tenant)).collect())
    }

    /// Matches `/{tenant}/api` and `/{tenant}/api/…`.
    pub fn find<'a>(&'a self, path: &'a str) -> Result<Matched<'a, T>, ProxyError> {
        let (name, after) = split_segment(path).ok_or(ProxyError::UnknownTenant)?;
        let tenant = self.by_name(name).ok_or(ProxyError::UnknownTenant)?;
        match split_segment(after) {
            Some((segment, rest)) if segment.eq_ignore_ascii_case("api") => Ok(Matched { tenant, rest }),
            _ => Err(ProxyError::BadTarget("only /{contextId}/api/… is carried")),
        }
    }

    /// All tenants, in no order.
    pub fn tenants(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    fn by_name(&self, name: &str) -> Option<&T> {
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) { self.0.get(name.to_ascii_lowercase().as_str()) } else { self.0.get(name) }
    }
}

/// `/first/rest` → `first`, `/rest`.
fn split_segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(path.find('/').unwrap_or(path.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        let routes = Routes::new([("Cust12345".to_owned(), 1), ("other".to_owned(), 2)]);
        let find = |path| routes.find(path).map(|matched| (*matched.tenant, matched.rest));
        assert_eq!(find("/Cust12345/api/v1/Contact/3"), Ok((1, "/v1/Contact/3")));
        assert_eq!(find("/cust12345/API/v1//x"), Ok((1, "/v1//x")));
        assert_eq!(find("/OTHER/api"), Ok((2, "")));
        assert_eq!(find("/other/api/"), Ok((2, "/")));
        for unknown in ["", "/", "*", "/favicon.ico", "/Cust1/api/v1", "//Cust12345/api", "/Cust12345%20/api"] {
            assert_eq!(find(unknown), Err(ProxyError::UnknownTenant), "{unknown}");
        }
        for bad in ["/Cust12345", "/Cust12345/", "/Cust12345/apis/v1", "/Cust12345//api"] {
            assert!(matches!(find(bad), Err(ProxyError::BadTarget(_))), "{bad}");
        }
    }
}
