//! The paths that were seen, as a tree of segments, and the patterns that it is pruned to.

use std::collections::BTreeMap;

/// More names than this below one parent are any name.
const MANY: usize = 8;

/// More methods of an agent, or more agents, than this may become one pattern.
const SOME: usize = 2;

#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    /// Whether a path ends here.
    end: bool,
    /// By the segment in small letters, with how it was written first.
    children: BTreeMap<String, (String, Tree)>,
}

impl Tree {
    pub(super) fn add(&mut self, path: &str) {
        let mut node = self;
        for segment in path.split('/').skip(1) {
            let segment = as_pattern(segment);
            let child = node.children.entry(segment.to_lowercase()).or_insert_with(|| (segment, Tree::default()));
            node = &mut child.1;
        }
        node.end = true;
    }

    /// The patterns of all paths: names stay but where there are many of them, `Get…` of agents become one.
    pub(super) fn patterns(mut self) -> Vec<String> {
        self.group_agents();
        self.prune(0);
        let mut patterns = Vec::new();
        self.collect("", &mut patterns);
        patterns
    }

    fn child(&mut self, name: &str) -> Option<&mut Tree> {
        self.children.get_mut(name).map(|(_, child)| child)
    }

    /// `/api/v1/Agents/{agent}/{method}`
    fn group_agents(&mut self) {
        let Some(api) = self.child("api") else { return };
        for (_, version) in api.children.values_mut() {
            let Some(agents) = version.child("agents") else { continue };
            let only_gets = |agent: &Tree| {
                !agent.end
                    && !agent.children.is_empty()
                    && agent.children.iter().all(|(name, (_, method))| is_get(name) && method.children.is_empty())
            };
            if agents.children.len() > SOME && agents.children.values().all(|(_, agent)| only_gets(agent)) {
                let mut any = Tree::default();
                any.children.insert("get*".to_owned(), ("Get*".to_owned(), Tree { end: true, children: BTreeMap::new() }));
                agents.children = BTreeMap::from([("*".to_owned(), ("*".to_owned(), any))]);
                continue;
            }
            for (_, agent) in agents.children.values_mut() {
                agent.join("Get*", SOME, is_get);
            }
        }
    }

    /// Below `/api/v1`, names are kept however many there are: to tell what an application works with is what rules are for.
    fn prune(&mut self, depth: usize) {
        if depth > 2 {
            self.join("*", MANY, |name| !name.is_empty() && !name.contains('*'));
        }
        for (_, child) in self.children.values_mut() {
            child.prune(depth + 1);
        }
    }

    /// Makes one child of all that are meant, if there are more than `most`.
    fn join(&mut self, into: &str, most: usize, meant: impl Fn(&str) -> bool) {
        if self.children.keys().filter(|name| meant(name)).count() <= most {
            return;
        }
        let (joined, kept): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut self.children).into_iter().partition(|(name, _)| meant(name));
        self.children = kept;
        let (_, one) = self.children.entry(into.to_lowercase()).or_insert_with(|| (into.to_owned(), Tree::default()));
        for (_, child) in joined.into_values() {
            one.merge(child);
        }
    }

    fn merge(&mut self, other: Tree) {
        self.end |= other.end;
        for (name, (written, child)) in other.children {
            self.children.entry(name).or_insert_with(|| (written, Tree::default())).1.merge(child);
        }
    }

    fn collect(&self, path: &str, into: &mut Vec<String>) {
        if self.end {
            into.push(path.to_owned());
        }
        for (written, child) in self.children.values() {
            child.collect(&format!("{path}/{written}"), into);
        }
    }
}

fn is_get(name: &str) -> bool {
    name.starts_with("get") && !name.contains('*')
}

/// A path with `*` for what differs from one record to the next.
pub(super) fn generalised(path: &str) -> String {
    path.split('/').map(as_pattern).collect::<Vec<_>>().join("/")
}

/// A segment as a rule writes it: numbers, GUIDs and what looks like hexadecimal become `*`.
fn as_pattern(segment: &str) -> String {
    let digits = segment.strip_prefix('-').unwrap_or(segment);
    let number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let bare = segment.trim_start_matches('{').trim_end_matches('}');
    let groups: Vec<&str> = bare.split('-').collect();
    let hex = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let guid = groups.iter().map(|group| group.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(|group| hex(group));
    // A digit among them: `facade` is a word.
    let code = segment.len() >= 8 && hex(segment) && segment.bytes().any(|byte| byte.is_ascii_digit());
    if number || guid || code { "*".to_owned() } else { segment.replace('*', "%2A") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patterns(paths: &[&str]) -> Vec<String> {
        let mut tree = Tree::default();
        paths.iter().for_each(|path| tree.add(path));
        tree.patterns()
    }

    #[test]
    fn what_differs_from_call_to_call_is_a_star() {
        for segment in ["5", "-1", "00012", "0b1c2d3e", "3F2504E0-4F89-11D3-9A0C-0305E82C3301", "{3f2504e0-4f89-11d3-9a0c-0305e82c3301}"] {
            assert_eq!(as_pattern(segment), "*", "{segment}");
        }
        for segment in ["v1", "Services88", "facade", "deadbeef", "Contact", "", "-", "$metadata", "3f2504e0-4f89"] {
            assert_eq!(as_pattern(segment), segment);
        }
        assert_eq!(as_pattern("a*b"), "a%2Ab");
    }

    #[test]
    fn names_stay_names_as_they_were_written_first() {
        assert_eq!(
            patterns(&[
                "/api/v1/Contact/5",
                "/api/v1/contact/6",
                "/API/v1/Contact",
                "/api/v1/Person/7/Urls",
                "/Remote/Services88/Contact.svc"
            ]),
            ["/api/v1/Contact", "/api/v1/Contact/*", "/api/v1/Person/*/Urls", "/Remote/Services88/Contact.svc"]
        );
        assert_eq!(patterns(&["/api/v1/Archive//$metadata", "/api/v1/Contact/"]), ["/api/v1/Archive//$metadata", "/api/v1/Contact/"]);
    }

    #[test]
    fn many_names_are_any_name() {
        let names =
            |many: usize, before: &str| (0..many).map(|at| format!("{before}/name{}/Items", (b'a' + at as u8) as char)).collect::<Vec<_>>();
        let of = |paths: Vec<String>| patterns(&paths.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(of(names(9, "/api/v1/List")), ["/api/v1/List/*/Items"]);
        assert_eq!(of(names(8, "/api/v1/List")).len(), 8);
        assert_eq!(of(names(20, "/api/v1")).len(), 20, "what an application works with is told by name");
        let mut empty = names(9, "/api/v1/List");
        empty.push("/api/v1/List//Items".to_owned());
        assert_eq!(of(empty), ["/api/v1/List//Items", "/api/v1/List/*/Items"]);
    }

    #[test]
    fn agents_that_only_get_are_one_pattern() {
        let gets = ["/api/v1/Agents/A/GetA", "/api/v1/Agents/B/GetB", "/api/v1/Agents/C/getC"];
        assert_eq!(patterns(&gets), ["/api/v1/Agents/*/Get*"]);
        assert_eq!(patterns(&gets[..2]), ["/api/v1/Agents/A/GetA", "/api/v1/Agents/B/GetB"]);
        let with_save = patterns(&[&gets[..], &["/api/v1/Agents/A/SaveA", "/api/v1/Agents/A/GetX", "/api/v1/Agents/A/GetY"]].concat());
        assert_eq!(with_save, ["/api/v1/Agents/A/Get*", "/api/v1/Agents/A/SaveA", "/api/v1/Agents/B/GetB", "/api/v1/Agents/C/getC"]);
    }
}
