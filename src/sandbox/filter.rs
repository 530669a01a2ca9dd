//! `$filter`: `name begins 'A' and (contactId = 2 or registeredDate before '2009-1-1')`, parsed and applied to rows.
//!
//! Words as SuperOffice's pages use them (protocol §7.1): `eq ne gt lt ge le`, their signs, `begins`, `contains`,
//! `before`, `after`, `and`, `or`, parentheses. Assumption: text is compared without regard to case, as its databases do.

use std::cmp::Ordering;

use jiff::civil::DateTime;
use serde_json::Value;

const MAX_DEPTH: usize = 32;

/// A condition on a row.
#[derive(Debug, PartialEq)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Compare { column: String, operator: Operator, value: Literal },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    Begins,
    Contains,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Literal {
    Text(String),
    Number(f64),
    Bool(bool),
    Null,
}

/// The text is no filter.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(super) struct FilterError(String);

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    Close,
    Sign(Operator),
    Word(String),
    Text(String),
}

impl Filter {
    pub(super) fn parse(text: &str) -> Result<Filter, FilterError> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0 };
        let filter = parser.any(0)?;
        match parser.next() {
            None => Ok(filter),
            Some(token) => Err(FilterError(format!("Syntax error in filter: unexpected {}", show(&token)))),
        }
    }

    /// The first column for which `known` is false.
    pub(super) fn unknown_column(&self, known: &dyn Fn(&str) -> bool) -> Option<&str> {
        match self {
            Filter::All(parts) | Filter::Any(parts) => parts.iter().find_map(|part| part.unknown_column(known)),
            Filter::Compare { column, .. } => (!known(column)).then_some(column),
        }
    }

    /// Whether a row fits; `column` gives its values.
    pub(super) fn fits(&self, column: &dyn Fn(&str) -> Value) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(|part| part.fits(column)),
            Filter::Any(parts) => parts.iter().any(|part| part.fits(column)),
            Filter::Compare { column: name, operator, value } => operator.holds(&column(name), value),
        }
    }
}

impl Operator {
    fn from_word(word: &str) -> Option<Operator> {
        Some(match word.to_ascii_lowercase().as_str() {
            "eq" | "equals" => Operator::Equal,
            "ne" => Operator::NotEqual,
            "gt" | "after" => Operator::Greater,
            "lt" | "before" => Operator::Less,
            "ge" => Operator::GreaterOrEqual,
            "le" => Operator::LessOrEqual,
            "begins" => Operator::Begins,
            "contains" => Operator::Contains,
            _ => return None,
        })
    }

    fn holds(self, have: &Value, want: &Literal) -> bool {
        let text = |value: &Value| match value {
            Value::String(text) => text.to_lowercase(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        match self {
            Operator::Begins => text(have).starts_with(&want.text().to_lowercase()),
            Operator::Contains => text(have).contains(&want.text().to_lowercase()),
            _ => match compare(have, want) {
                None => self == Operator::NotEqual,
                Some(order) => match self {
                    Operator::Equal => order == Ordering::Equal,
                    Operator::NotEqual => order != Ordering::Equal,
                    Operator::Greater => order == Ordering::Greater,
                    Operator::Less => order == Ordering::Less,
                    Operator::GreaterOrEqual => order != Ordering::Less,
                    _ => order != Ordering::Greater,
                },
            },
        }
    }
}

impl Literal {
    fn text(&self) -> String {
        match self {
            Literal::Text(text) => text.clone(),
            Literal::Number(number) => number.to_string(),
            Literal::Bool(bool) => bool.to_string(),
            Literal::Null => String::new(),
        }
    }
}

/// `None` where the two cannot be compared.
fn compare(have: &Value, want: &Literal) -> Option<Ordering> {
    match (have, want) {
        (Value::Null, Literal::Null) => Some(Ordering::Equal),
        (Value::Number(have), want) => {
            let want = match want {
                Literal::Number(number) => *number,
                Literal::Text(text) => text.trim().parse().ok()?,
                _ => return None,
            };
            have.as_f64()?.partial_cmp(&want)
        }
        (Value::Bool(have), Literal::Bool(want)) => Some(have.cmp(want)),
        (Value::Bool(have), Literal::Number(want)) => Some(have.cmp(&(*want != 0.0))),
        (Value::String(have), Literal::Null) => Some(if have.is_empty() { Ordering::Equal } else { Ordering::Greater }),
        (Value::String(have), want) => match (date(have), date(&want.text())) {
            (Some(have), Some(want)) => Some(have.cmp(&want)),
            _ => Some(have.to_lowercase().cmp(&want.text().to_lowercase())),
        },
        _ => None,
    }
}

/// `2009-1-1`, `2009-01-01T12:30`, with or without seconds, fraction and `Z`.
fn date(text: &str) -> Option<DateTime> {
    let text = text.trim().trim_end_matches(['Z', 'z']);
    let (day, time) = text.split_once(['T', 't', ' ']).unwrap_or((text, "0:0:0"));
    let mut day = day.splitn(3, '-');
    let year = day.next().filter(|year| year.len() == 4)?.parse().ok()?;
    let [month, day] = [day.next()?.parse().ok()?, day.next()?.parse().ok()?];
    let mut time = time.split('.').next()?.split(':');
    let mut part = || time.next().map_or(Some(0), |part| part.parse().ok());
    DateTime::new(year, month, day, part()?, part()?, part()?, 0).ok()
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let fits = matches!(self.tokens.get(self.at), Some(Token::Word(have)) if have.eq_ignore_ascii_case(word));
        self.at += usize::from(fits);
        fits
    }

    fn any(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.all(depth)?];
        while self.takes_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Any(parts) })
    }

    fn all(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.one(depth)?];
        while self.takes_word("and") {
            parts.push(self.one(depth)?);
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) })
    }

    fn one(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let column = match self.next() {
            Some(Token::Open) if depth >= MAX_DEPTH => return Err(FilterError("Syntax error in filter: too many parentheses".into())),
            Some(Token::Open) => {
                let inner = self.any(depth + 1)?;
                return match self.next() {
                    Some(Token::Close) => Ok(inner),
                    _ => Err(FilterError("Syntax error in filter: missing ')'".into())),
                };
            }
            Some(Token::Word(column)) => column,
            other => return Err(expected("a column name", other)),
        };
        let operator = match self.next() {
            Some(Token::Sign(operator)) => operator,
            Some(Token::Word(word)) => {
                Operator::from_word(&word).ok_or_else(|| FilterError(format!("Unknown operator '{word}' in filter")))?
            }
            other => return Err(expected(&format!("an operator after '{column}'"), other)),
        };
        let value = match self.next() {
            Some(Token::Text(text)) => Literal::Text(text),
            Some(Token::Word(word)) => literal(&word)?,
            other => return Err(expected("a value", other)),
        };
        Ok(Filter::Compare { column, operator, value })
    }
}

fn literal(word: &str) -> Result<Literal, FilterError> {
    match word.to_ascii_lowercase().as_str() {
        "true" => Ok(Literal::Bool(true)),
        "false" => Ok(Literal::Bool(false)),
        "null" => Ok(Literal::Null),
        _ if word.starts_with(|c: char| c.is_ascii_digit() || c == '-' || c == '.') => match word.parse() {
            Ok(number) => Ok(Literal::Number(number)),
            Err(_) if date(word).is_some() => Ok(Literal::Text(word.to_owned())),
            Err(_) => Err(FilterError(format!("Syntax error in filter: '{word}' is neither number nor date"))),
        },
        _ => Err(FilterError(format!("Syntax error in filter: the text {word} must be in quotes"))),
    }
}

fn expected(what: &str, got: Option<Token>) -> FilterError {
    let got = got.as_ref().map_or_else(|| "the end".to_owned(), show);
    FilterError(format!("Syntax error in filter: expected {what}, found {got}"))
}

fn show(token: &Token) -> String {
    match token {
        Token::Open => "'('".into(),
        Token::Close => "')'".into(),
        Token::Sign(_) => "a comparison".into(),
        Token::Word(text) | Token::Text(text) => format!("'{text}'"),
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '\'' | '"' => quoted(rest, first)?,
            _ => match sign(rest) {
                Some(found) => found,
                None => {
                    let length = rest.find(|c: char| !(c.is_alphanumeric() || "_/.:-+$#".contains(c))).unwrap_or(rest.len());
                    if length == 0 {
                        return Err(FilterError(format!("Syntax error in filter: unexpected '{first}'")));
                    }
                    (Token::Word(rest[..length].to_owned()), length)
                }
            },
        };
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn sign(rest: &str) -> Option<(Token, usize)> {
    let signs = [
        ("!=", Operator::NotEqual),
        ("<>", Operator::NotEqual),
        (">=", Operator::GreaterOrEqual),
        ("<=", Operator::LessOrEqual),
        ("=", Operator::Equal),
        (">", Operator::Greater),
        ("<", Operator::Less),
    ];
    let (text, operator) = signs.into_iter().find(|(text, _)| rest.starts_with(text))?;
    Some((Token::Sign(operator), text.len()))
}

/// Quoted text; a doubled quote stands for one.
fn quoted(rest: &str, quote: char) -> Result<(Token, usize), FilterError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = chars.next() {
        if c != quote {
            text.push(c);
        } else if chars.next_if(|(_, next)| *next == quote).is_some() {
            text.push(quote);
        } else {
            return Ok((Token::Text(text), at + 1));
        }
    }
    Err(FilterError("Syntax error in filter: a quotation is not closed".into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fits(filter: &str) -> bool {
        let row = json!({
            "name": "O'Hara Shipping", "contactId": 12, "registeredDate": "2008-12-31T23:59:59Z",
            "email/emailAddress": "Post@Example.org", "retired": false, "department": "", "code": null,
        });
        Filter::parse(filter).unwrap().fits(&|name| row.get(name).cloned().unwrap_or(Value::Null))
    }

    #[test]
    fn what_fits() {
        for filter in [
            "name begins 'o''hara'",
            "name begins \"O'H\"",
            "name contains 'SHIP'",
            "contactId=12",
            "contactId eq 12",
            "contactId eq '12'",
            "contactId > -3 and contactId lt 12.5",
            "contactId ge 12 and contactId le 12",
            "registeredDate before '2009-1-1'",
            "registeredDate after 2008-12-31",
            "not2 = 1 or contactId=12",
            "contactId=1 and name='x' or retired = false",
            "contactId=12 and (name='x' or email/emailAddress eq 'post@example.org')",
            "((contactId != 11))",
            "department = ''",
            "code eq null",
            "name ne 'other'",
            "  contactId   eq   12  ",
        ] {
            assert!(fits(filter), "{filter}");
        }
    }

    #[test]
    fn what_does_not_fit() {
        for filter in [
            "name begins 'hara'",
            "contactId ne 12",
            "contactId gt 12",
            "registeredDate after '2009-01-01'",
            "contactId=1 and (name='x' or retired=false)",
            "retired eq true",
            "name = null",
            "contactId eq 'twelve'",
        ] {
            assert!(!fits(filter), "{filter}");
        }
    }

    #[test]
    fn what_is_no_filter() {
        for filter in [
            "",
            "name",
            "name eq",
            "name eq Hara",
            "name like 'x'",
            "name eq 'x",
            "(name eq 'x'",
            "name eq 'x')",
            "name eq 'x' and",
            "name eq 'x' name eq 'y'",
            "eq 'x'",
            "name eq 12x",
            "name; drop",
            "and and and",
            &"(".repeat(100_000),
        ] {
            assert!(Filter::parse(filter).is_err(), "{}", &filter[..filter.len().min(40)]);
        }
    }

    #[test]
    fn unknown_columns_are_found() {
        let filter = Filter::parse("a = 1 and (b = 2 or c = 3)").unwrap();
        assert_eq!(filter.unknown_column(&|name| name != "c"), Some("c"));
        assert_eq!(filter.unknown_column(&|_| true), None);
    }
}
