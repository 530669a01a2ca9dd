//! One rule: methods and a pattern of paths, `GET,HEAD /api/v1/**`.
//!
//! Methods are written in capitals, several with commas, `*` for all; GET stands for HEAD, too. The pattern is of a path behind the
//! tenant: `**` is any number of segments, also none, and `*` any characters of one segment. Case does not matter in it, and
//! escapes are decoded. It is read as a path is: by its empty segments, and without them.

use std::fmt;
use std::str::FromStr;

use http::Method;

use super::normal::{Reading, check_segment, fold};

/// `GET /api/v1/**`
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    text: String,
    /// Empty: all.
    methods: Vec<String>,
    written: Vec<Segment>,
    /// Without empty segments, if there are any.
    collapsed: Option<Vec<Segment>>,
}

#[derive(Clone, Debug, PartialEq)]
enum Segment {
    /// `**`
    Any,
    Name(String),
    /// What stands before, between and behind `*`s.
    Glob {
        prefix: String,
        middle: Vec<String>,
        suffix: String,
    },
}

/// Why a text is no rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {hint}")]
pub struct RuleError {
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub hint: &'static str,
}

const FORM: &str = "write methods, a blank and a path behind the tenant, such as \"GET,HEAD /api/v1/**\" or \"* /Remote/**\"";
const METHODS: &str = "write methods in capitals with commas between and no blank, such as \"GET,POST /api/v1/**\", or * for all";
const STARS: &str = "** is a segment of its own and stands for any number of them, * for any characters of one segment";
const NEVER: &str = "no path with this is ever allowed; leave it out, or write * for the segment";

impl Rule {
    /// Whether it is one for this method, which is in capitals.
    pub(super) fn is_for(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|one| one == method || (one == "GET" && method == "HEAD"))
    }

    /// Whether its pattern covers a path, read in the same way.
    pub(super) fn covers(&self, reading: Reading<'_>) -> bool {
        match reading {
            Reading::Written(path) => covers(&self.written, path),
            Reading::Collapsed(path) => covers(self.collapsed.as_ref().unwrap_or(&self.written), path),
        }
    }
}

/// `path` is empty, or begins with a slash.
fn covers(pattern: &[Segment], path: &str) -> bool {
    let (mut pattern, mut rest) = (pattern, path);
    // What is behind the last `**`, and where it has been tried.
    let mut retry: Option<(&[Segment], &str)> = None;
    loop {
        match (pattern.split_first(), split(rest)) {
            (Some((Segment::Any, [])), _) | (None, None) => return true,
            (Some((Segment::Any, behind)), _) => {
                retry = Some((behind, rest));
                pattern = behind;
                continue;
            }
            (Some((segment, behind)), Some((name, further))) if segment.is(name) => {
                (pattern, rest) = (behind, further);
                continue;
            }
            _ => {}
        }
        // The last `**` takes one segment more. What an earlier one could take, it can, too.
        let Some((behind, (_, further))) = retry.and_then(|(behind, from)| Some((behind, split(from)?))) else { return false };
        retry = Some((behind, further));
        (pattern, rest) = (behind, further);
    }
}

/// `/first/rest` → `first`, `/rest`
fn split(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    Some(path.split_at(memchr::memchr(b'/', path.as_bytes()).unwrap_or(path.len())))
}

impl Segment {
    fn is(&self, name: &str) -> bool {
        match self {
            Segment::Any => false,
            Segment::Name(own) => own == name,
            Segment::Glob { prefix, middle, suffix } => {
                let between = name.strip_prefix(&**prefix).and_then(|rest| rest.strip_suffix(&**suffix));
                let Some(mut rest) = between else { return false };
                // Each as early as it can be: that leaves most to those behind it.
                middle.iter().all(|part| rest.find(&**part).map(|at| rest = &rest[at + part.len()..]).is_some())
            }
        }
    }

    fn parse(text: &str) -> Result<Segment, RuleError> {
        if text == "**" {
            return Ok(Segment::Any);
        }
        if text.contains("**") {
            return Err(RuleError { what: format!("{text:?} is no segment"), hint: STARS });
        }
        let bad = |what| RuleError { what: format!("{text:?} cannot be matched, for {what}"), hint: NEVER };
        let mut parts = text.split('*').map(fold).collect::<Result<Vec<String>, _>>().map_err(bad)?;
        check_segment(&parts.join("*")).map_err(bad)?;
        let suffix = parts.pop().unwrap_or_default();
        if parts.is_empty() {
            return Ok(Segment::Name(suffix));
        }
        let prefix = parts.remove(0);
        Ok(Segment::Glob { prefix, middle: parts, suffix })
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        let bad = |what: &str, hint| Err(RuleError { what: what.to_owned(), hint });
        let text = text.trim();
        let Some((methods, path)) = text.split_once(char::is_whitespace) else {
            return bad(if text.starts_with('/') { "there is no method" } else { "there is no path" }, FORM);
        };
        let (methods, path) = (parse_methods(methods)?, path.trim_start());
        let Some(path) = path.strip_prefix('/') else { return bad("the path does not begin with a slash", FORM) };
        if path.contains(['?', '#']) {
            return bad("a rule looks at the path alone", "leave out the query; an encoded ? or # is never allowed");
        }
        let written = path.split('/').map(Segment::parse).collect::<Result<Vec<Segment>, RuleError>>()?;
        let is_empty = |segment: &Segment| matches!(segment, Segment::Name(name) if name.is_empty());
        let collapsed = written.iter().any(is_empty).then(|| written.iter().filter(|segment| !is_empty(segment)).cloned().collect());
        Ok(Rule { text: text.to_owned(), methods, written, collapsed })
    }
}

fn parse_methods(text: &str) -> Result<Vec<String>, RuleError> {
    if text == "*" {
        return Ok(Vec::new());
    }
    let method = |method: &str| {
        if method.bytes().any(|byte| byte.is_ascii_lowercase()) {
            return Err(RuleError { what: format!("{method:?} is not in capitals"), hint: METHODS });
        }
        let fits = !method.contains('*') && method.parse::<Method>().is_ok();
        if fits { Ok(method.to_owned()) } else { Err(RuleError { what: format!("{method:?} is no method"), hint: METHODS }) }
    };
    text.split(',').map(method).collect()
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests;
