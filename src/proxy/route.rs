//! Path → tenant, and the part of the path that goes upstream as it is.

use super::error::ProxyError;

/// The configured tenants by name, without regard to case, as SuperOffice treats paths.
///
/// A hash table of its own, because the standard one looks up only what is spelled as its keys are: a name in capitals would
/// have to be copied for each request. The hash is a cheap one without a secret: the names in the table are the operator's,
/// callers only look up, and whatever name they send costs no more steps than the longest run of taken places.
#[derive(Debug)]
pub struct Routes<T> {
    /// A power of two, at most half of them taken. A name stands in the place of its hash, or in one of the next.
    places: Box<[Place<T>]>,
    /// The length of the longest name: a longer one is not even hashed.
    longest: usize,
}

/// Free, or a tenant with its name.
type Place<T> = Option<(Box<str>, T)>;

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
        let tenants: Vec<(String, T)> = tenants.into_iter().collect();
        let longest = tenants.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        let places = std::iter::repeat_with(|| None).take((2 * tenants.len()).next_power_of_two().max(2)).collect();
        let mut routes = Routes { places, longest };
        for (name, tenant) in tenants {
            let place = routes.place(&name);
            routes.places[place] = Some((name.into(), tenant));
        }
        routes
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
        self.places.iter().flatten().map(|(_, tenant)| tenant)
    }

    fn by_name(&self, name: &str) -> Option<&T> {
        if name.len() > self.longest {
            return None;
        }
        self.places[self.place(name)].as_ref().map(|(_, tenant)| tenant)
    }

    /// Where the name stands, or the free place where it would.
    fn place(&self, name: &str) -> usize {
        let last = self.places.len() - 1;
        let mut place = hash(name) & last;
        let other = |taken: &str| taken != name && !taken.eq_ignore_ascii_case(name);
        while self.places[place].as_ref().is_some_and(|(taken, _)| other(taken)) {
            place = (place + 1) & last;
        }
        place
    }
}

/// Eight bytes in one step, a multiplication each, its two halves folded into one.
fn hash(name: &str) -> usize {
    // Makes capitals small. It makes some other characters the same, too, which only costs a hash a little of its spread.
    const SMALL: u64 = 0x2020_2020_2020_2020;
    let step = |hash: u64, word: &[u8; 8]| {
        let product = u128::from(hash ^ (u64::from_le_bytes(*word) | SMALL)) * 0x9e37_79b9_7f4a_7c15;
        (product >> 64) as u64 ^ product as u64
    };
    let (words, rest) = name.as_bytes().as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    step(words.iter().fold(name.len() as u64, step), &last) as usize
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

    #[test]
    fn no_tenants_no_routes() {
        let routes = Routes::<u8>::new([]);
        assert_eq!(routes.find("//api"), Err(ProxyError::UnknownTenant));
        assert_eq!(routes.find("/Cust12345/api"), Err(ProxyError::UnknownTenant));
    }

    /// The longest run of taken places is what a look-up can cost; a poor hash would make it thousands long.
    #[test]
    fn each_of_many_tenants_is_found_in_a_few_steps() {
        for names in [|n: u32| format!("Cust{n}"), |n| format!("Cust{n:05}"), |n| format!("{n}"), |n| format!("tenant-{n}_prod")] {
            let routes = Routes::new((0..10_000).map(|n| (names(n), n)));
            assert_eq!(routes.tenants().count(), 10_000);
            for n in 0..10_000 {
                assert_eq!(routes.by_name(&names(n).to_ascii_uppercase()), Some(&n));
                assert_eq!(routes.by_name(&format!("{}x", names(n))), None);
            }
            let longest = routes.places.split(Option::is_none).map(<[_]>::len).max().unwrap();
            assert!(longest < 50, "{longest} places in a row for {}", names(1));
        }
    }

    proptest::proptest! {
        #[test]
        fn it_is_a_map_without_regard_to_case(names in proptest::collection::vec("[A-Da-d0-1_-]{1,3}", 0..40), asked in "[A-Da-d0-1_-]{0,4}") {
            let routes = Routes::new(names.iter().cloned().enumerate().map(|(n, name)| (name, n)));
            let expected = names.iter().rposition(|name| name.eq_ignore_ascii_case(&asked));
            proptest::prop_assert_eq!(routes.by_name(&asked), expected.as_ref());
        }
    }
}
